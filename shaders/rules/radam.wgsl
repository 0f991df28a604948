// RAdam: Adam whose step is rectified for the variance of its own denominator; without the denominator
// while that variance is not finite, in the first steps.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   theta <- theta - (lr_wd theta + lr correction m / (sqrt(v / c2) + eps))  rectified (phase 2)
//   theta <- theta - (lr_wd theta + lr correction m)                  fallback "sgd" (phase 1)
//   theta <- theta                                                fallback "skip" (phase 0)
//
// On the host, with bc1 = 1 - beta1^t, bc2 = 1 - beta2^t:
//   rho_inf = 2 / (1 - beta2) - 1,  rho = rho_inf - 2 t beta2^t / bc2;  phase 2 where rho > threshold
//   r       = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
//   phase 2: eps_form "raw": correction = r sqrt(bc2) / bc1, c2 = 1;  "hat": r / bc1, c2 = bc2
//   phase 1: correction = 1 / bc1
//
// Source: Liu, Jiang, He, Chen, Liu, Gao, Han, "On the Variance of the Adaptive Learning Rate and Beyond",
//   2020, algorithm 2.
// State: m, v.
// Differences: the paper has threshold 4 and no eps; PyTorch and the authors' code have 5 and eps raw. The
//   authors' code skips by default, PyTorch and the paper do not. optax has eps_form "hat".

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_c2: f32,
    eps: f32,
    lr: f32,
    correction: f32,
    l2: f32,
    lr_wd: f32,
    phase: u32,
}

struct State {
    m: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return select(h.lr_wd * theta, 0.0, h.phase == 0u);
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    var direction = (*s).m;
    if (h.phase == 2u) {
        direction = (*s).m / (sqrt((*s).v * h.inv_c2) + h.eps);
    }
    return h.lr * h.correction * direction;
}
