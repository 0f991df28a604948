// LARS: SGD with momentum whose learning rate is scaled to each tensor's own norm.
//
//   local =  trust |theta| / (|g| + weight_decay |theta| + eps)      ratio "paper"
//         =  trust |theta| / (|g + weight_decay theta| + eps)        ratio "sum"
//            1 where |theta| or |g| (or the sum) is 0; norms over a tensor
//
// g_norm is |g| 2^-16, which f32 holds for all gradients that it holds. Norms below 2^-110 count as 0.
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

struct Terms {
    theta_norm: f32,
    g_norm: f32,
}

fn terms(theta: f32, g: f32, s: State, h: Hyper) -> Terms {
    return Terms(theta, 0x1p-16 * select(g, g + h.weight_decay * theta, h.sum != 0u));
}

fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    var d = g + h.weight_decay * theta;
    if (h.adapt != 0u && h.theta_norm > 0.0 && h.g_norm > 0.0) {
        let decay = scaled(h.weight_decay * h.theta_norm, -16);
        let decayed = select(h.g_norm + decay, h.g_norm, h.sum != 0u);
        d = (h.trust * h.theta_norm) * (scaled(d, -16) / (decayed + scaled(h.eps, -16)));
    }
    (*s).b = h.momentum * (*s).b + h.lr_inside * d;
    return h.lr_outside * (*s).b;
}
