// AdaShift: the second moment averages gradients that are `keep` steps old, so that it is independent of
// the gradients that it scales; the first moment is a weighted mean of the last `keep` gradients.
//
//   g     <- g + l2 theta
//   m     <- beta1 (m - leave h) + enter g              h: the g of keep steps ago, 0 before
//   v     <- beta2 v + (1 - beta2) phi(h)^2             phi(h): the largest |h| of the tensor, or h itself
//   theta <- theta - (lr_wd theta + lr m / (sqrt(v / bc2) + eps))  bc2 = 1 - beta2^(t - keep); no step where v = 0,
//                                                       so none before step keep + 1
//
//   enter = 1 / W, leave = beta1^(keep - 1) / W, W = 1 + beta1 + ... + beta1^(keep - 1)
//
// Source: Zhou, Zhang, Lu, Wang, Zhang, Yu, "AdaShift: Decorrelation and Convergence of Adaptive Learning
//   Rate Methods", 2019, with moving-average windows.
// State: m, v, and h, a ring of keep gradients.
// Differences: m is updated in place, where the paper sums the ring: the same numbers in exact arithmetic.
//   v is kept once for each parameter also where it is one number a tensor. m gathers gradients from the first step
//   on, as in the paper; some implementations start it at step keep + 1. A coordinate whose old gradients
//   were all 0 stands still, as in the authors' code; others divide its m by eps.

struct Hyper {
    beta1: f32,
    enter: f32,
    leave: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
    ready: u32,
    whole: u32,
    largest: f32,
}

struct State {
    m: f32,
    v: f32,
    h: f32,
}

struct Terms {
    largest: f32,
}

fn terms(theta: f32, g: f32, s: State, h: Hyper) -> Terms {
    return Terms(abs(s.h));
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return select(0.0, h.lr_wd * theta, h.ready != 0u);
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    (*s).m = h.beta1 * ((*s).m - h.leave * (*s).h) + h.enter * g;
    let phi = select((*s).h, h.largest, h.whole != 0u);
    (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (phi * phi);
    (*s).h = g;
    let denom = sqrt((*s).v * h.inv_bc2) + h.eps;
    let step = select((*s).m / denom, 0.0, (*s).v == 0.0);
    return h.lr * step;
}
