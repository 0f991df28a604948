// StableAdamW: AdamW that shortens the step of a tensor whose gradients outgrow their second moment.
//
//   g     <- g + l2 theta
//   m     <- beta1^ m + (1 - beta1^) g                 beta^ = beta (1 - beta^(t-1)) / (1 - beta^t)
//   v     <- beta2^ v + (1 - beta2^) g^2
//   rms   =  |g / max(sqrt(v), eps)| / |1|             norms over a tensor; |1| is the root of its size
//   rate  =  lr / max(1, rms)
//   theta <- theta - rate (m / (sqrt(v) + eps) + decay theta)
//
// Source: Wortsman, Dettmers, Zettlemoyer, Morcos, Farhadi, Schmidt, "Stable and low-precision training for
//   large-scale vision-language models", 2023, algorithm 2.
// State: m, v, which need no bias correction.
// Differences: the equation is optimi's, where rms = sqrt(mean(g^2 / max(v, eps^2))), without its squares that
//   overflow. The decay is scaled by rate, not by lr, as there.

struct Hyper {
    beta1_hat: f32,
    one_minus_beta1_hat: f32,
    beta2_hat: f32,
    one_minus_beta2_hat: f32,
    eps: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
    ratio_norm: f32,
    ones_norm: f32,
}

struct State {
    m: f32,
    v: f32,
}

struct Terms {
    ratio_norm: f32,
    ones_norm: f32,
}

fn second_moment(v: f32, g: f32, h: Hyper) -> f32 {
    return h.beta2_hat * v + h.one_minus_beta2_hat * (g * g);
}

fn terms(theta: f32, gradient: f32, s: State, h: Hyper) -> Terms {
    let g = gradient + h.l2 * theta;
    let v = second_moment(s.v, g, h);
    return Terms(g / max(sqrt(v), h.eps), 1.0);
}

fn clip(h: Hyper) -> f32 {
    let rms = h.ratio_norm / h.ones_norm;
    return max(1.0, rms);
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd / clip(h) * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1_hat * (*s).m + h.one_minus_beta1_hat * g;
    (*s).v = second_moment((*s).v, g, h);
    let denom = sqrt((*s).v) + h.eps;
    return h.lr / clip(h) * ((*s).m / denom);
}
