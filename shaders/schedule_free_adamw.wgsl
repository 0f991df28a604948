// Schedule-Free AdamW: an average of the iterates in the place of a schedule of the rate.
//
//   g     <- g + l2 theta
//   v     <- beta2 v + (1 - beta2) g^2
//   d     =  g / (sqrt(v / bc2) + eps) + decay theta           bc2 = 1 - beta2^k, k: training steps so far
//   theta <- theta + c (z - theta) - lr_k (1 - beta1 (1 - c)) d
//   z     <- z - lr_k d                                        z_1 = theta_1
//
// theta is y = (1 - beta1) z + beta1 x of the paper while training; the average x, for evaluation, is not
// kept:
//   x = y + (1 - 1 / beta1) (z - y),  y = x + (1 - beta1) (z - x)
// which is the line of theta above with these numbers for c, and d = 0: a step that only converts.
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
    mix: f32,
    lr: f32,
    step_size: f32,
    l2: f32,
    decay: f32,
    first: u32,
    convert: u32,
}

struct State {
    z: f32,
    v: f32,
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = select(gradient + h.l2 * theta, 0.0, h.convert != 0u);
    let z = select((*s).z, theta, h.first != 0u);
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    let d = g / denom + h.decay * theta;
    (*s).z = z - h.lr * d;
    let mixed = theta + h.mix * (z - theta);
    return mixed - h.step_size * d;
}
