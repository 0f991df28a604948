// AdEMAMix: Adam with a second, much slower average of the gradients beside the first.
//
//   g     <- g + l2 theta
//   m1    <- beta1 m1 + (1 - beta1) g
//   m2    <- beta3_t m2 + (1 - beta3_t) g
//   v     <- beta2 v + (1 - beta2) g^2
//   theta <- theta - (lr_wd theta + lr (m1 / bc1 + alpha_t m2) / (sqrt(v / bc2) + eps))  bc_i = 1 - beta_i^t
//
// alpha_t rises linearly from 0 to alpha; beta3_t from beta1 to beta3, linearly in its half-life.
//
// Source: Pagliardini, Ablin, Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, algorithm 1,
//   and section 3 for the schedulers of alpha and beta3.
// State: m1, m2, v.
// Differences: none from the paper; the authors' code adds 1e-8 to the betas inside the scheduler of beta3.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    inv_bc1: f32,
    alpha: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    m1: f32,
    m2: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m1 = h.beta1 * (*s).m1 + h.one_minus_beta1 * g;
    (*s).m2 = h.beta3 * (*s).m2 + h.one_minus_beta3 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    let ahead = h.inv_bc1 * (*s).m1 + h.alpha * (*s).m2;
    return h.lr * (ahead / denom);
}
