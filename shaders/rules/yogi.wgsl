// Yogi: Adam whose second moment moves by at most (1 - beta2) g^2 a step, up or down.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- v - (1 - beta2) sign(v - g^2) g^2
//   theta <- theta - (lr_wd theta + (lr / bc1) m / (sqrt(v / bc2) + eps))  bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//
// Source: Zaheer, Reddi, Sachan, Kale, Kumar, "Adaptive Methods for Nonconvex Optimization", 2018,
//   algorithm 2.
// State: m, v, both from initial_accumulator.
// Differences: the paper has no bias correction and eps inside the root; both moments start at 1e-6 and are
//   corrected, as in optax. v never falls below zero: where v > g^2 it loses less than g^2.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    inv_bc1: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    m: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    let square = g * g;
    (*s).v = (*s).v - h.one_minus_beta2 * (sign((*s).v - square) * square);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    return h.lr * h.inv_bc1 * ((*s).m / denom);
}
