// AdaBound and AMSBound: Adam whose step sizes are clipped into bounds that close in on those of SGD.
//
//   g     <- g + l2 theta
//   m     <- beta1 m + (1 - beta1) g
//   v     <- beta2 v + (1 - beta2) g^2
//   eta   =  step_size / (sqrt(v) + eps)                step_size = lr sqrt(bc2) / bc1
//   theta <- keep theta - clip(eta, low, high) m        bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
//
// On the host: low = f gamma t / (gamma t + 1), high = f (1 + 1 / (gamma t)), f = final_lr lr / base_lr.
// amsbound: the root is taken of v_max <- max(v_max, v).
//
// Source: Luo, Xiong, Liu, Sun, "Adaptive Gradient Methods with Dynamic Bound of Learning Rate", 2019,
//   algorithms 2 and 3.
// State: m, v, and v_max with amsbound.
// Differences: the authors' code. The paper divides by sqrt(t), has no bias correction and no eps, and 1 - beta2
//   in the place of gamma.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    step_size: f32,
    low: f32,
    high: f32,
    l2: f32,
    keep: f32,
    amsbound: u32,
}

struct State {
    m: f32,
    v: f32,
    v_max: f32,
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
    var v = (*s).v;
    if (h.amsbound != 0u) {
        v = max((*s).v_max, (*s).v);
        (*s).v_max = v;
    }
    let eta = clamp(h.step_size / (sqrt(v) + h.eps), h.low, h.high);
    return h.keep * theta - eta * (*s).m;
}
