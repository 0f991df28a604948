// RMSProp, plain, centered and with momentum.
//
//   g     <- g + l2 theta
//   v     <- alpha v + (1 - alpha) g^2
//   denom =  sqrt(v) + eps
//   b     <- momentum b + g / denom                    (without momentum b is this step's g / denom)
//   theta <- theta - (lr_wd theta + lr b)
//
// centered: the variance in the place of v, with a the average of the gradients:
//   v     <- alpha (v + (1 - alpha) (g - a)^2)
//   a     <- a + (1 - alpha) (g - a)
//
// Source: Tieleman, Hinton, "Lecture 6.5 - RMSProp", Coursera, 2012; centered and with momentum: Graves,
//   "Generating Sequences With Recurrent Neural Networks", 2013, equations 38 to 45.
// State: v; a when centered; b with momentum.
// Differences: eps stands outside the root and lr outside b, as in PyTorch (optax, TensorFlow and Graves have
//   eps inside, optax and Graves lr inside b). Centered, v is the variance itself: PyTorch keeps the average
//   of g^2 and takes their difference v - a^2, the same number in exact arithmetic, which cancels and can
//   fall below zero in f32. Here it is a sum of squares.

struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    momentum: f32,
    eps: f32,
    lr: f32,
    l2: f32,
    lr_wd: f32,
    centered: u32,
}

struct State {
    v: f32,
    a: f32,
    b: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    if (h.centered != 0u) {
        let d = g - (*s).a;
        (*s).v = h.alpha * ((*s).v + h.one_minus_alpha * (d * d));
        (*s).a = (*s).a + h.one_minus_alpha * d;
    } else {
        (*s).v = h.alpha * (*s).v + h.one_minus_alpha * (g * g);
    }
    let denom = sqrt((*s).v) + h.eps;
    (*s).b = h.momentum * (*s).b + g / denom;
    return h.lr * (*s).b;
}
