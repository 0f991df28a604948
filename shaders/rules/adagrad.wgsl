// AdaGrad: each coordinate's rate falls with the sum of its squared gradients.
//
//   g     <- g + l2 theta
//   v     <- v + g^2
//   theta <- theta - (lr_wd theta + (lr / (1 + (t - 1) lr_decay)) g / (sqrt(v) + eps))
//
// Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
//   Optimization", 2011, figure 1 (diagonal matrices, composite mirror descent).
// State: v.
// Differences: eps stands outside the root and v starts at 0, as in PyTorch; optax starts it at 0.1 and has
//   eps inside. lr_decay is PyTorch's, not the paper's.

struct Hyper {
    eps: f32,
    lr: f32,
    falling: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * h.falling * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).v = (*s).v + g * g;
    let denom = sqrt((*s).v) + h.eps;
    return h.lr * h.falling * (g / denom);
}
