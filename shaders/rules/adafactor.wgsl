// Adafactor: a second moment of rows and columns only, a step relative to the size of its tensor.
//
//   G     =  g^2 + eps1
//   r     <- beta2 r + (1 - beta2) (mean of G over each row)          beta2 = 1 - t^-0.8
//   c     <- beta2 c + (1 - beta2) (mean of G over each column)
//   u     =  g / (sqrt(r / mean r) sqrt(c))                           vectors: r is G's average, c and mean r are 1
//   u     <- u / max(1, rms(u) / clip_threshold)
//   m     <- beta1 m + (1 - beta1) alpha u                            alpha = max(eps2, rms(theta)) rho
//   theta <- theta - (lr_wd theta + m)                                alpha u itself without beta1
//
// Source: Shazeer, Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, algorithms 4
//   and 5, with section 9's step rho = min(1e-2, 1 / sqrt(t)), or rho = lr.
// State: r, c: one value for each row and each column of the two largest dimensions; m with beta1.
// Differences: G is averaged, not summed, over a line, as in the authors' code; only r's mean tells the
//   two apart. PyTorch takes eps1 as lower bounds instead of adding it.

struct Hyper {
    beta2: f32,
    one_minus_beta2: f32,
    eps1: f32,
    eps2: f32,
    inv_clip_threshold: f32,
    lr: f32,
    rho: f32,
    beta1: f32,
    one_minus_beta1: f32,
    lr_wd: f32,
    u_norm: f32,
    theta_norm: f32,
    root_count: f32,
}

struct State {
    r: f32,
    c: f32,
    m: f32,
}

struct Terms {
    u_norm: f32,
    theta_norm: f32,
    root_count: f32,
}

fn factored_term(g: f32, h: Hyper) -> f32 {
    return g * g + h.eps1;
}

fn factored_average(before: f32, mean: f32, h: Hyper) -> f32 {
    return h.beta2 * before + h.one_minus_beta2 * mean;
}

fn direction(g: f32, s: State) -> f32 {
    return g / (sqrt(s.r) * sqrt(s.c));
}

fn terms(theta: f32, g: f32, s: State, h: Hyper) -> Terms {
    return Terms(direction(g, s), theta, 1.0);
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * h.rho * theta;
}

fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let clip = max(1.0, h.u_norm / h.root_count * h.inv_clip_threshold);
    let alpha = max(h.eps2, h.theta_norm / h.root_count) * (h.lr * h.rho);
    (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * (alpha * (direction(g, *s) / clip));
    return (*s).m;
}
