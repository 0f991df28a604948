// ADOPT: Adam that divides by the second moment of the steps before, and before the momentum, so that it
// converges with any beta2.
//
//   g     <- g + l2 theta
//   d     =  clip(g / max(sqrt(v), eps), c)             from the v of the step before; c = (t - 1)^(1/4)
//   m     <- beta1 m + (1 - beta1) d
//   theta <- theta - (lr_wd theta + lr m)
//   v     <- beta2 v + (1 - beta2) g^2
//
// The first step only sets v = g^2: the host sends beta2 = 0, d is 0, and theta does not decay.
//
// Source: Taniguchi, Harada, Minegishi, Oshima, Jeong, Nagahara, Iiyama, Suzuki, Iwasawa, Matsuo, "ADOPT:
//   Modified Adam Can Converge with Any beta2 with the Optimal Rate", 2024, algorithm 2, with the later
//   version's clipping.
// State: m, v.
// Differences: the paper counts from the step after the first, so its t is t - 1 here, as in the authors'
//   code.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    clip: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
    first: u32,
}

struct State {
    m: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return select(h.lr_wd * theta, 0.0, h.first != 0u);
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let denom = max(sqrt((*s).v), h.eps);
    let d = select(clamp(g / denom, -h.clip, h.clip), 0.0, h.first != 0u);
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * d;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    return h.lr * (*s).m;
}
