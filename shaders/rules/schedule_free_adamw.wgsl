// Schedule-Free AdamW: an average of the iterates in the place of a schedule of the rate.
//
//   g     <- g + l2 theta
//   v     <- beta2 v + (1 - beta2) g^2
//   d     =  g / (sqrt(v / bc2) + eps) + decay theta           bc2 = 1 - beta2^k, k: training steps so far
//   theta <- theta + c (z - theta) - lr_k (1 - beta1 (1 - c)) d   lr_k = lr warmup
//   z     <- z - lr_k d                                        z_1 = theta_1
//
// theta is y = (1 - beta1) z + beta1 x of the paper while training; the average x, for evaluation, is not
// kept:
//   x = y + (1 - 1 / beta1) (z - y),  y = x + (1 - beta1) (z - x)
// A step that finds the wrong one of the two converts it, and does nothing else.
//
// Source: Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky, "The Road Less Scheduled", 2024, algorithm 1.
// State: z, v.
// Differences: none from the authors' package (1.4): eps after the bias correction and outside the root; its
//   earlier versions correct the rate in the place of v.

struct Hyper {
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    warmup: f32,
    c: f32,
    stride: f32,
    l2: f32,
    weight_decay: f32,
    to_average: f32,
    from_average: f32,
    first: u32,
}

struct State {
    z: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr * h.warmup * h.stride * (h.weight_decay * theta);
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let z = select((*s).z, theta, h.first != 0u);
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    let rate = h.lr * h.warmup;
    (*s).z = z - rate * (g / denom + h.weight_decay * theta);
    return rate * h.stride * (g / denom) - h.c * (z - theta);
}

fn convert(theta: f32, s: State, h: Hyper, evaluate: bool) -> f32 {
    return theta + select(h.from_average, h.to_average, evaluate) * (s.z - theta);
}
