// LaProp: the gradient is normalised before the momentum is taken, not after.
//
//   g     <- g + l2 theta
//   v     <- beta2 v + (1 - beta2) g^2
//   denom =  sqrt(v / bc2) + eps                        bc2 = 1 - beta2^t
//   m     <- beta1 m + (1 - beta1) lr g / denom
//   C     <- beta1 C + (1 - beta1) lr                   on the host
//   theta <- theta - (lr_wd theta + (lr / C) m)
//
// centered (0 off, 1 in its first steps, 2 after them): a is the mean of g under beta2, the slot v holds the
//   variance v - a^2, and the root is taken of v (1) or of the variance (2).
// amsgrad: the root is taken of the maximum over time of what it is taken of otherwise (before / bc2).
//
// Source: Ziyin, Wang, Ueda, "LaProp: Separating Momentum and Adaptivity in Adam", 2020, algorithm 1; centered
//   and amsgrad as in the authors' code.
// State: m, v, a when centered, v_max with amsgrad.
// Differences: the authors keep v when centered and subtract a^2, which cancels and can be negative. The
//   variance is kept here; it obeys (v - a^2) <- beta2 ((v - a^2) + (1 - beta2) (g - a)^2), the same number.
//   Weight decay is multiplied by lr and comes before the step; the authors' code does neither.

struct Hyper {
    beta1: f32,
    rate: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    inv_c: f32,
    l2: f32,
    lr_wd: f32,
    centered: u32,
    amsgrad: u32,
}

struct State {
    m: f32,
    v: f32,
    a: f32,
    v_max: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    if (h.centered != 0u) {
        let d = g - (*s).a;
        (*s).v = h.beta2 * ((*s).v + h.one_minus_beta2 * (d * d));
        (*s).a = (*s).a + h.one_minus_beta2 * d;
    } else {
        (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    }
    var v = (*s).v;
    if (h.centered == 1u) {
        v = (*s).v + (*s).a * (*s).a;
    }
    if (h.amsgrad != 0u) {
        v = max((*s).v_max, v);
        (*s).v_max = v;
    }
    let denom = sqrt(v * h.inv_bc2) + h.eps;
    (*s).m = h.beta1 * (*s).m + h.rate * (g / denom);
    return h.lr * h.inv_c * (*s).m;
}
