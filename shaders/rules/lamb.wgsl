// LAMB: AdamW whose step is scaled to each tensor's own norm.
//
//   m     <- beta1 m + beta3 g                         beta3 = 1 - beta1, or 1 without grad_averaging
//   v     <- beta2 v + (1 - beta2) g^2
//   u     =  (m / bc1) / (sqrt(v / bc2) + eps) + weight_decay theta
//   theta <- theta - lr (|theta| / |u|) u              ratio 1 where either norm is 0; norms over a tensor
//
// Source: You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer, Hsieh, "Large Batch Optimization
//   for Deep Learning: Training BERT in 76 minutes", 2020, algorithm 2.
// State: m, v.
// Differences: phi is the identity, as in optax.lamb and NVIDIA's code. NVLAMB is max_grad_norm = 1 and
//   always_adapt = false (no ratio without weight decay). The paper's first versions had no bias correction.

struct Hyper {
    lr: f32,
    beta1: f32,
    beta3: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc1: f32,
    inv_bc2: f32,
    eps: f32,
    weight_decay: f32,
    adapt: u32,
    theta_norm: f32,
    u_norm: f32,
}

struct State {
    m: f32,
    v: f32,
}

struct Terms {
    theta_norm: f32,
    u_norm: f32,
}

fn direction(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    (*s).m = h.beta1 * (*s).m + h.beta3 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    return ((*s).m * h.inv_bc1) / denom + h.weight_decay * theta;
}

fn terms(theta: f32, g: f32, before: State, h: Hyper) -> Terms {
    var s = before;
    return Terms(theta, direction(theta, g, &s, h));
}

fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let u = direction(theta, g, s, h);
    var ratio = 1.0;
    if (h.adapt != 0u && h.theta_norm > 0.0 && h.u_norm > 0.0) {
        ratio = h.theta_norm / h.u_norm;
    }
    return (h.lr * ratio) * u;
}
