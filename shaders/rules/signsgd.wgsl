// signSGD; with momentum, Signum.
//
//   g     <- g + l2 theta
//   m     <- momentum m + (1 - momentum) g             (without momentum m is g)
//   theta <- theta - (lr_wd theta + lr sign(m))        sign(0) = 0
//
// Source: Bernstein, Wang, Azizzadenesheli, Anandkumar, "signSGD: Compressed Optimisation for Non-Convex
//   Problems", 2018, algorithms 1 (signSGD) and 2 (Signum).
// State: m (none while every group's momentum is 0).
// Differences: none from the paper and optax (sign_sgd, signum). Weight decay is decoupled unless said
//   otherwise: the L2 form decides signs.

struct Hyper {
    momentum: f32,
    one_minus_momentum: f32,
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
    (*s).m = h.momentum * (*s).m + h.one_minus_momentum * g;
    return h.lr * sign((*s).m);
}
