// LARS: SGD with momentum whose learning rate is scaled to each tensor's own norm.
//
//   local =  trust |theta| / (|g| + weight_decay |theta| + eps)      ratio "paper"
//         =  trust |theta| / (|g + weight_decay theta| + eps)        ratio "sum"
//            1 where |theta| or |g| (or the sum) is 0; norms over a tensor
//   b     <- momentum b + [lr] local (g + weight_decay theta)        lr inside
//   theta <- theta - [lr] b                                          lr outside
//
// Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1.
// State: b.
// Differences: the paper has lr inside b and ratio "paper"; timm.optim.Lars has lr outside, optax.lars the
//   ratio "sum" with lr inside. Nesterov's step is left out.

struct Hyper {
    lr_inside: f32,
    lr_outside: f32,
    momentum: f32,
    trust: f32,
    weight_decay: f32,
    eps: f32,
    sum: u32,
    adapt: u32,
    theta_norm: f32,
    g_norm: f32,
}

struct State {
    b: f32,
}

struct Measured {
    theta_norm: f32,
    g_norm: f32,
}

fn measure(theta: f32, g: f32, s: State, h: Hyper) -> Measured {
    return Measured(theta, select(g, g + h.weight_decay * theta, h.sum != 0u));
}

fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    var local = 1.0;
    if (h.adapt != 0u && h.theta_norm > 0.0 && h.g_norm > 0.0) {
        let decayed = select(h.g_norm + h.weight_decay * h.theta_norm, h.g_norm, h.sum != 0u);
        local = h.trust * h.theta_norm / (decayed + h.eps);
    }
    (*s).b = h.momentum * (*s).b + (h.lr_inside * local) * (g + h.weight_decay * theta);
    return h.lr_outside * (*s).b;
}
