// GClip: SGD whose step has a bounded norm.
//
//   theta <- theta - (lr_wd theta + lr min(max_norm / |g|, 1) g)  |g| over all tensors of all groups
//   with weight decay "l2" for g + l2 theta instead of g, also in the norm
//
// Source: Zhang, Karimireddy, Veit, Kim, Reddi, Kumar, Sra, "Why are Adaptive Methods Good for Attention
//   Models?", 2020, equation 2 (GClip).
// State: none.
// Differences: the factor is exact, as in the paper and optax.clip_by_global_norm; torch.nn.utils.clip_grad_norm_
//   adds 1e-6 to the norm.

struct Hyper {
    lr: f32,
    max_norm: f32,
    l2: f32,
    lr_wd: f32,
    g_norm: f32,
}

struct State {
    none: f32,
}

struct Measured {
    g_norm: f32,
}

fn measure(theta: f32, gradient: f32, s: State, h: Hyper) -> Measured {
    return Measured(gradient + h.l2 * theta);
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let factor = select(1.0, h.max_norm / h.g_norm, h.max_norm < h.g_norm);
    return (h.lr * factor) * g;
}
