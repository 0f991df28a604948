// CClip: SGD with each coordinate of the gradient clipped.
//
//   g     <- g + l2 theta
//   theta <- theta - (lr_wd theta + lr min(threshold / |g|, 1) g)  = lr clamp(g, -threshold, threshold)
//
// Source: Zhang, Karimireddy, Veit, Kim, Reddi, Kumar, Sra, "Why are Adaptive Methods Good for Attention
//   Models?", 2020, section 4.1 (CClip).
// State: none.
// Differences: clamp in the place of the division: the same number, also for g = 0. The gradient of an l2
//   term is clipped with the rest; torch.nn.utils.clip_grad_value_ and SGD add it after the clipping.

struct Hyper {
    lr: f32,
    threshold: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    none: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let d = clamp(g, -h.threshold, h.threshold);
    return h.lr * d;
}
