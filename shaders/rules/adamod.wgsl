// AdaMod: Adam whose step sizes are bounded by their own average over time.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   eta   =  rate / (sqrt(v / c2) + eps)
//   s     <- beta3 s + (1 - beta3) eta
//   theta <- theta - (lr_wd theta + min(eta, s) m / c1)
//
//   form "code":   rate = lr sqrt(bc2) / bc1, c1 = c2 = 1         bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//   form "paper":  rate = lr, c1 = bc1, c2 = bc2
//
// Source: Ding, Ren, Luo, Sun, "An Adaptive and Momental Bound Method for Stochastic Learning", 2019,
//   algorithm 2.
// State: m, v, s.
// Differences: the two forms are not the same: in the authors' code the correction 1 / bc1 is inside what is
//   averaged and bounded, and eps is added to the uncorrected root.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    inv_c1: f32,
    inv_c2: f32,
    eps: f32,
    lr: f32,
    correction: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    m: f32,
    v: f32,
    s: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let eta = h.lr * h.correction / (sqrt((*s).v * h.inv_c2) + h.eps);
    (*s).s = h.beta3 * (*s).s + h.one_minus_beta3 * eta;
    return min(eta, (*s).s) * (h.inv_c1 * (*s).m);
}
