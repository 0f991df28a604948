// AdaBound and AMSBound: Adam whose step sizes are clipped into bounds that close in on those of SGD.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   eta   =  lr correction / (sqrt(v) + eps)            correction = sqrt(bc2) / bc1
//   theta <- theta - (lr_wd theta + clip(eta, low, high) m)  bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//
// low = final_rate gamma t / (gamma t + 1), high = final_rate (1 + 1 / (gamma t)), final_rate = final_lr lr / base_lr.
// amsbound: the root is taken of v_max <- max(v_max, v).
//
// Source: Luo, Xiong, Liu, Sun, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", 2019,
//   algorithms 2 and 3.
// State: m, v, and v_max with amsbound.
// Differences: the authors' code. The paper divides by sqrt(t), has no bias correction and no eps, and 1 - beta2
//   in the place of gamma.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    lr: f32,
    correction: f32,
    final_rate: f32,
    low_share: f32,
    high_share: f32,
    l2: f32,
    lr_wd: f32,
    amsbound: u32,
}

struct State {
    m: f32,
    v: f32,
    v_max: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    var v = (*s).v;
    if (h.amsbound != 0u) {
        v = max((*s).v_max, (*s).v);
        (*s).v_max = v;
    }
    let low = h.final_rate * h.low_share;
    let high = h.final_rate * h.high_share;
    let eta = clamp(h.lr * h.correction / (sqrt(v) + h.eps), low, high);
    return eta * (*s).m;
}
