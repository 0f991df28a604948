// MAdam: Adam whose second moment's beta maximises the observed variance (MaxVA), per coordinate.
//
//   beta  =  argmax of the variance of the weighted gradients, in [beta_min, beta_max]
//         =  clip((D + S) / (w (D - S) + D + S + delta)),  D = (g - u)^2
//   w     <- beta w + (1 - beta)
//   u     <- mean of the gradients under the weights,  S <- their variance
//   m     <- beta1 m + (1 - beta1) g
//   denom =  sqrt(S + u^2) + eps                        (= sqrt(v~ / w) + eps of the paper)
//   theta <- theta - (lr_wd theta + (lr / bc1) m / denom)  bc1 = 1 - beta1^t
//
// amsgrad: denom <- max over time of denom. nesterov: beta1 m + (1 - beta1) g in the place of m.
//
// Source: Zhu, Cheng, Gan, Huang, Liu, Goldstein, "MaxVA: Fast Adaptation of Step Sizes by Maximizing
//   Observed Variance of Gradients", 2021, algorithm 1, equations 6 to 8.
// State: m, u, S, w, and denom_max with AMSGrad.
// Differences: the paper keeps u~ = w u and v~ = w (S + u^2) and takes S as their difference, which
//   cancels. Here S itself is kept (Welford's update): the same numbers in exact arithmetic, S >= 0 and no
//   cancellation in f32. For the same reason 1 - beta = (w (D - S) + delta) / (...) is computed instead of beta,
//   and w (D - S) + D + S is written as (1 + w) D + (1 - w) S.
//   A coordinate without variance (D = S = 0) has beta = beta_min, as in the authors' code; with
//   delta = 0, which makes the rule free of scale, it has beta_max.

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

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    let d = g - (*s).u;
    let D = d * d;
    let one_minus_w = max(1.0 - (*s).w, 0.0);
    let den = (1.0 + (*s).w) * D + (one_minus_w * (*s).S + h.delta);
    let best = select(((*s).w * (D - (*s).S) + h.delta) / den, 0.0, den == 0.0);
    let one_minus_beta = clamp(best, h.one_minus_beta_max, h.one_minus_beta_min);
    (*s).w = (*s).w + one_minus_beta * one_minus_w;
    let gamma = select(one_minus_beta / (*s).w, 1.0, h.first != 0u);
    (*s).S = (1.0 - gamma) * ((*s).S + gamma * D);
    (*s).u = (*s).u + gamma * d;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    let mm = select((*s).m, h.beta1 * (*s).m + h.one_minus_beta1 * g, h.nesterov != 0u);
    var denom = sqrt((*s).S + (*s).u * (*s).u) + h.eps;
    if (h.amsgrad != 0u) {
        denom = max((*s).denom_max, denom);
        (*s).denom_max = denom;
    }
    return h.lr * h.inv_bc1 * (mm / denom);
}
