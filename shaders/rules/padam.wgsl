// Padam: AMSGrad with a power of its second moment between SGD's (0) and its own (1/2).
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   v_max <- max(v_max, v)                              with amsgrad; else v in its place
//   theta <- theta - (lr_wd theta + lr correction m / (sqrt(v_max) + eps)^(2 partial))
//
// correction = sqrt(bc2) / bc1                        bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//
// Source: Chen, Zhou, Tang, Yang, Cao, Gu, "Closing the Generalization Gap of Adaptive Gradient Methods in
//   Training Deep Neural Networks", 2020, algorithm 1.
// State: m, v, and v_max with amsgrad.
// Differences: eps and the bias correction as in the authors' code; the paper has neither. sqrt(bc2) is the
//   matching correction for partial = 1/2 only.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    twice_partial: f32,
    lr: f32,
    correction: f32,
    l2: f32,
    lr_wd: f32,
    amsgrad: u32,
}

struct State {
    m: f32,
    v: f32,
    v_max: f32,
}

// The logarithm in pow needs a base that is positive and not subnormal.
const TINY: f32 = 1e-37;

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    var v = (*s).v;
    if (h.amsgrad != 0u) {
        v = max((*s).v_max, (*s).v);
        (*s).v_max = v;
    }
    let denom = pow(max(sqrt(v) + h.eps, TINY), h.twice_partial);
    return h.lr * h.correction * ((*s).m / denom);
}
