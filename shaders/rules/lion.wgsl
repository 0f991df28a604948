// Lion: the sign of one average of the gradients; another, slower one is remembered.
//
//   g     <- g + l2 theta
//   c     =  beta1 m + (1 - beta1) g                   from the m of the step before
//   m     <- beta2 m + (1 - beta2) g
//   theta <- theta - (lr_wd theta + lr sign(c))        sign(0) = 0
//
// Source: Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu, Le, "Symbolic Discovery of
//   Optimization Algorithms", 2023, algorithm 2.
// State: m.
// Differences: none from the paper and the authors' code. Weight decay is decoupled unless said otherwise.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    m: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let c = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).m = h.beta2 * (*s).m + h.one_minus_beta2 * g;
    return h.lr * sign(c);
}
