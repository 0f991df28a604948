// MAdam as in the script behind the paper's figure 3, which is not algorithm 1: the mean under the weights is
// replaced by m / w, where m is the momentum and already has the gradient of this step.
//
// State: m, w; S is the sum v~ (not a variance); u is not used.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    one_minus_beta_min: f32,
    one_minus_beta_max: f32,
    delta: f32,
    eps: f32,
    lr: f32,
    inv_bc1: f32,
    l2: f32,
    lr_wd: f32,
    first: u32,
    amsgrad: u32,
    nesterov: u32,
}

struct State {
    m: f32,
    u: f32,
    S: f32,
    w: f32,
    denom_max: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    // In the first step both limits are its beta.
    let w = max((*s).w, 1e-30);
    let mean = (*s).m / w;
    let variance = (*s).S / w - mean * mean;
    let D = (g - mean) * (g - mean);
    let beta = select((D + variance) / (w * (D - variance) + D + variance + h.delta), 0.0, h.first != 0u);
    let one_minus_beta = clamp(1.0 - beta, h.one_minus_beta_max, h.one_minus_beta_min);
    (*s).S = (1.0 - one_minus_beta) * (*s).S + one_minus_beta * (g * g);
    (*s).w = (1.0 - one_minus_beta) * (*s).w + one_minus_beta;
    let denom = sqrt((*s).S / (*s).w) + h.eps;
    return h.lr * h.inv_bc1 * ((*s).m / denom);
}
