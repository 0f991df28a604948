// NosAdam: Adam whose second moment weighs the past more than the present.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- (B_(t-1) / B_t) v + (b_t / B_t) g^2        b_t = t^-gamma, B_t = b_1 + ... + b_t
//   theta <- theta - (lr_wd theta + (lr / bc1) m / (sqrt(v) + eps))  bc1 = 1 - beta1^t
//
// The weights beta2 = B_(t-1) / B_t and one_minus_beta2 = b_t / B_t come from the host.
//
// Source: Huang, Wang, Dong, "Nostalgic Adam: Weighting More of the Past Gradients When Designing the
//   Adaptive Learning Rate", 2019 (NosAdam-HH, with hyperharmonic weights).
// State: m, v.
// Differences: bc1 and eps as in the authors' code; the paper has neither. v needs no correction: its weights
//   add up to 1 from the first step on.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
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
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v) + h.eps;
    return h.lr * h.inv_bc1 * ((*s).m / denom);
}
