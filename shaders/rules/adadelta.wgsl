// AdaDelta: the rate of each coordinate is the ratio of its recent updates to its recent gradients, so that
// updates have the units of the parameter.
//
//   g     <- g + l2 theta
//   v     <- rho v + (1 - rho) g^2
//   d     =  sqrt(x + eps) / sqrt(v + eps) g
//   x     <- rho x + (1 - rho) d^2
//   theta <- theta - (lr_wd theta + lr d)
//
// Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
// State: v, x.
// Differences: the paper has no lr (it is 1); with another, x still averages d before it is multiplied by lr,
//   as in PyTorch and optax.

struct Hyper {
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    v: f32,
    x: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).v = h.rho * (*s).v + h.one_minus_rho * (g * g);
    let d = sqrt((*s).x + h.eps) / sqrt((*s).v + h.eps) * g;
    (*s).x = h.rho * (*s).x + h.one_minus_rho * (d * d);
    return h.lr * d;
}
