// ACClip: momentum clipped, coordinate by coordinate, at an average of the gradient's magnitude.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   c     <- beta2 c + (1 - beta2) |g|^alpha
//   tau   =  c^(1 / alpha)
//   theta <- theta - (lr_wd theta + lr min(tau / (|m| + eps), 1) m)
//
// power: 1 where alpha is 1, 2 where it is 2 (a square and a root), else 0.
//
// Source: Zhang, Karimireddy, Veit, Kim, Reddi, Kumar, Sra, "Why are Adaptive Methods Good for Attention
//   Models?", 2020, algorithm 1.
// State: m, c (= tau^alpha).
// Differences: none; no correction of m or c for their start at 0, as in the paper. Where |m| + eps is 0 the
//   ratio is 1 instead of 0 / 0.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    alpha: f32,
    inv_alpha: f32,
    eps: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
    power: u32,
}

struct State {
    m: f32,
    c: f32,
}

// What is smaller counts as zero: the logarithm in pow needs a base that is positive and not subnormal.
const TINY: f32 = 1e-37;

fn raised(x: f32, exponent: f32) -> f32 {
    return select(pow(max(x, TINY), exponent), 0.0, x < TINY);
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    var moment = abs(g);
    if (h.power == 2u) {
        moment = g * g;
    } else if (h.power == 0u) {
        moment = raised(abs(g), h.alpha);
    }
    (*s).c = h.beta2 * (*s).c + h.one_minus_beta2 * moment;
    var tau = (*s).c;
    if (h.power == 2u) {
        tau = sqrt((*s).c);
    } else if (h.power == 0u) {
        tau = raised((*s).c, h.inv_alpha);
    }
    let size = abs((*s).m) + h.eps;
    let ratio = select(tau / size, 1.0, size == 0.0);
    return h.lr * (min(ratio, 1.0) * (*s).m);
}
