// Adan: Nesterov's momentum from the differences of gradients, without a gradient at the point ahead.
//
//   g     <- g + l2 theta
//   diff  =  g - g_prev                                       0 at step 1
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) diff
//   n     <- beta3 n + (1 - beta3) (g + beta2 diff)^2
//   denom =  sqrt(n / bc3) + eps                              bc_i = 1 - beta_i^t
//   theta <- theta - shrink (lr_wd theta + lr (m / bc1 + beta2 v / bc2) / denom)
//
//   decoupled decay: lr_wd = lr weight_decay; shrink = 1 / (1 + lr_wd) with prox, else 1
//
// Source: Xie, Zhou, Li, Lin, Yan, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
//   Models", 2022, algorithm 1.
// State: m, v, n, g_prev.
// Differences: the paper's betas are 1 - ours, and it has no bias correction of the moments; names and
//   corrections are those of the authors' code. Its restarts are left to the caller.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    inv_bc3: f32,
    eps: f32,
    lr: f32,
    inv_bc1: f32,
    share_v: f32,
    l2: f32,
    lr_wd: f32,
    shrink: f32,
    first: u32,
}

struct State {
    m: f32,
    v: f32,
    n: f32,
    g_prev: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * h.shrink * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let diff = select(g - (*s).g_prev, 0.0, h.first != 0u);
    let ahead = g + h.beta2 * diff;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * diff;
    (*s).n = h.beta3 * (*s).n + h.one_minus_beta3 * (ahead * ahead);
    (*s).g_prev = g;
    let denom = sqrt((*s).n * h.inv_bc3) + h.eps;
    let mean = h.inv_bc1 * (*s).m + h.share_v * (*s).v;
    return h.lr * h.shrink * (mean / denom);
}
