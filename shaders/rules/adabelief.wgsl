// AdaBelief: Adam with the variance of the gradient around its momentum in the place of its second moment.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   s     <- beta2 s + (1 - beta2) (g - m)^2 + eps
//   theta <- theta - (lr_wd theta + lr correction m / (sqrt(s / c2) + eps))  correction = 1 / bc1, c2 = bc2
//                                                                 bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
// amsgrad: the root is taken of s_max / c2,  s_max <- max(s_max, s).
// rectify: as radam.wgsl: correction = r sqrt(bc2) / bc1 and c2 = 1 where rho > 5; before, without the
//   denominator (adaptive = 0), theta <- theta - (lr_wd theta + (lr / bc1) m).
//
// Source: Zhuang, Tang, Ding, Tatikonda, Dvornek, Papademetris, Duncan, "AdaBelief Optimizer: Adapting
//   Stepsizes by the Belief in Observed Gradients", 2020, algorithm 2.
// State: m, s, and s_max with amsgrad.
// Differences: g - m with the new m is computed as beta1 (g - m) with the old one, the same number without
//   cancellation. eps is added to s in every step and stays in it, and to the root once more, as in the paper
//   and in the authors' code. eps_in_s = eps / (1 - beta2) is added to the square instead: the same number,
//   and no sum of three terms, which compilers take in another order.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_c2: f32,
    eps: f32,
    eps_in_s: f32,
    lr: f32,
    correction: f32,
    l2: f32,
    lr_wd: f32,
    adaptive: u32,
    amsgrad: u32,
}

struct State {
    m: f32,
    s: f32,
    s_max: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let d = h.beta1 * (g - (*s).m);
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).s = h.beta2 * (*s).s + h.one_minus_beta2 * (d * d + h.eps_in_s);
    var variance = (*s).s;
    if (h.amsgrad != 0u) {
        variance = max((*s).s_max, (*s).s);
        (*s).s_max = variance;
    }
    var direction = (*s).m;
    if (h.adaptive != 0u) {
        direction = (*s).m / (sqrt(variance * h.inv_c2) + h.eps);
    }
    return h.lr * h.correction * direction;
}
