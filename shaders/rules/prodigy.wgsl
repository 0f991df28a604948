// Prodigy: Adam whose rate d grows to an estimate of the distance to the solution.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) d g
//   v     <- beta2 v + (1 - beta2) (d g)^2
//   s     <- beta3 s + (d / d0) d rate g                              rate = lr, lr bc, or 1 with safeguard_warmup
//   r     <- beta3 r + (d / d0) d rate <g, moved>                     over all tensors of all groups
//   d_hat =  d_coef r / |s|_1
//   d'    =  min(max(d_max, d_hat), growth_rate d)                    d starts at d0 = d_max
//   step  =  d rate (m / (sqrt(v) + d' eps) + decay theta)
//   moved <- moved + step                                             theta0 - theta
//   theta <- theta - step
//
// Source: Mishchenko, Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023, algorithm 4.
// State: m (not with beta1 = 0), v, s, moved; carried from step to step, one for all: d, the d of the step before,
//   d_max, r.
// Differences: of the authors' package (prodigyopt 1.1.2), of which the paper has no growth_rate and no d_coef: m, v,
//   s, the step and the decay use the d before the step. It keeps theta0 instead of moved, and so loses what
//   rounding theta loses; rates may differ between groups here.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    lr: f32,
    correction: f32,
    s_lr: f32,
    s_correction: f32,
    d0: f32,
    inv_d0: f32,
    d_coef: f32,
    growth_rate: f32,
    eps: f32,
    l2: f32,
    weight_decay: f32,
    rests: u32,
    limited: u32,
    d: f32,
    d_before: f32,
    d_max: f32,
    r: f32,
    dot: f32,
    s_sum: f32,
}

struct State {
    m: f32,
    v: f32,
    s: f32,
    moved: f32,
}

struct Terms {
    dot: f32,
    s_sum: f32,
}

struct DeviceScalars {
    d: f32,
    d_before: f32,
    d_max: f32,
    r: f32,
}

fn next_s(g: f32, s: f32, d: f32, h: Hyper) -> f32 {
    return h.beta3 * s + ((d * h.inv_d0) * (d * (h.s_lr * h.s_correction))) * g;
}

fn terms(theta: f32, gradient: f32, s: State, h: Hyper) -> Terms {
    if (h.rests != 0u) {
        return Terms(0.0, 0.0);
    }
    let g = gradient + h.l2 * theta;
    let dot = ((h.d * h.inv_d0) * (h.d * (h.lr * h.correction))) * (g * s.moved);
    return Terms(dot, abs(next_s(g, s.s, h.d, h)));
}

fn next_device_scalars(h: Hyper) -> DeviceScalars {
    if (!(0.0 < h.s_sum)) {
        return DeviceScalars(h.d, h.d, h.d_max, h.r);
    }
    let r = h.beta3 * h.r + h.dot;
    let d_hat = h.d_coef * r / h.s_sum;
    let d_max = max(h.d_max, d_hat);
    var d = d_max;
    if (h.limited != 0u) {
        // The very first growth is free.
        let reached = select(max(h.d, d_hat), h.d, h.d0 < h.d);
        d = min(d_max, reached * h.growth_rate);
    }
    return DeviceScalars(d, h.d, d_max, r);
}

fn decay(theta: f32, h: Hyper) -> f32 {
    let rate = h.d_before * (h.lr * h.correction);
    return select(0.0, rate * (h.weight_decay * theta), 0.0 < h.s_sum);
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    if (h.rests != 0u) {
        return 0.0;
    }
    let g = gradient + h.l2 * theta;
    let d = h.d_before;
    let dg = d * g;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * dg;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (dg * dg);
    (*s).s = next_s(g, (*s).s, d, h);
    let denom = sqrt((*s).v) + h.d * h.eps;
    let step = (d * (h.lr * h.correction)) * ((*s).m / denom);
    if (!(0.0 < h.s_sum)) {
        return 0.0;
    }
    (*s).moved = (*s).moved + (decay(theta, h) + step);
    return step;
}
