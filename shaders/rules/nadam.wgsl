// NAdam: Adam with Nesterov's momentum, whose coefficient mu grows with time.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   denom =  sqrt(v / bc2) + eps                           bc2 = 1 - beta2^t
//   theta <- theta - (lr_wd theta + lr (share_g g + share_m m) / denom)
//
//   mu_t   = beta1 (1 - 0.96^(t momentum_decay) / 2),  P_t = mu_1 ... mu_t
//   share_g = (1 - mu_t) / (1 - P_t),  share_m = mu_(t+1) / (1 - P_(t+1))
//
// Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2.
// State: m, v.
// Differences: none from torch.optim.NAdam: as there, m itself decays by beta1, not by mu_t. optax.nadam has
//   a constant mu = beta1.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    share_g: f32,
    share_m: f32,
    l2: f32,
    lr_wd: f32,
}

struct State {
    m: f32,
    v: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    let ahead = h.share_g * g + h.share_m * (*s).m;
    return h.lr * (ahead / denom);
}
