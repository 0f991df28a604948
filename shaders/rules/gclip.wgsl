// GClip: SGD whose step has a bounded norm.
//
//   theta <- theta - (lr_wd theta + lr min(max_norm / |g|, 1) g)  |g| over all tensors of all groups
//   with weight decay "l2" for g + l2 theta instead of g, also in the norm
//
// g_norm is |g| 2^-16, which f32 holds for all gradients that it holds. Norms below 2^-110 count as 0.
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

struct Terms {
    g_norm: f32,
}

fn terms(theta: f32, gradient: f32, s: State, h: Hyper) -> Terms {
    return Terms(0x1p-16 * (gradient + h.l2 * theta));
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let clips = scaled(h.max_norm, -16) < h.g_norm;
    let d = select(g, h.max_norm * (scaled(g, -16) / h.g_norm), clips);
    return h.lr * d;
}
