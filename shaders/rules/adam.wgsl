// Adam, AdamW and AMSGrad.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   denom =  sqrt(v / bc2) + eps                       bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//   theta <- theta - (lr_wd theta + (lr / bc1) m / denom)
//
// With AMSGrad the root is taken of a maximum over time (amsgrad: 0 none, 1 of v, 2 of v / bc2):
//   1     v_max <- max(v_max, v),         denom = sqrt(v_max / bc2) + eps
//   2     v_max <- max(v_max, v / bc2),   denom = sqrt(v_max) + eps
//
// Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1; Loshchilov, Hutter,
//   "Decoupled Weight Decay Regularization", 2019, algorithm 2; Reddi, Kale, Kumar, "On the Convergence of
//   Adam and Beyond", 2018, algorithm 2 (which has no bias correction: the host then sends bc1 = bc2 = 1).
// State: m, v, and v_max with AMSGrad.
// Differences: eps stands outside the root and after the bias correction, as in the paper's main text,
//   PyTorch and optax. Loshchilov's decay is multiplied by lr, as in PyTorch.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    inv_bc1: f32,
    l2: f32,
    lr_wd: f32,
    amsgrad: u32,
}

struct State {
    m: f32,
    v: f32,
    v_max: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    var v_hat = (*s).v * h.inv_bc2;
    if (h.amsgrad == 1u) {
        (*s).v_max = max((*s).v_max, (*s).v);
        v_hat = (*s).v_max * h.inv_bc2;
    } else if (h.amsgrad == 2u) {
        (*s).v_max = max((*s).v_max, v_hat);
        v_hat = (*s).v_max;
    }
    let denom = sqrt(v_hat) + h.eps;
    return h.lr * h.inv_bc1 * ((*s).m / denom);
}
