// SGD with momentum, dampening and Nesterov's step.
//
//   g     <- g + l2 theta
//   b     <- momentum b + one_minus_dampening g        (b_1 = g: the first step is not dampened)
//   d     =  g + momentum b   with nesterov, else b;   g without momentum, where b rests
//   theta <- theta - (lr_wd theta + lr d)
//
// Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Sutskever,
//   Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", 2013;
//   in the form of torch.optim.SGD.
// State: b (none while every group's momentum is 0).
// Differences: PyTorch does not dampen the first step in which there is momentum; here that is the first step of
//   all. optax.sgd has no dampening. Sutskever's form has lr inside b, which differs while lr changes.

struct Hyper {
    lr: f32,
    momentum: f32,
    one_minus_dampening: f32,
    l2: f32,
    lr_wd: f32,
    averages: u32,
    nesterov: u32,
    first: u32,
}

struct State {
    b: f32,
}

fn decay(theta: f32, h: Hyper) -> f32 {
    return h.lr_wd * theta;
}

fn update(theta: f32, gradient: f32, s: ptr<function, State>, h: Hyper) -> f32 {
    let g = gradient + h.l2 * theta;
    if (h.averages == 0u) {
        return h.lr * g;
    }
    let share = select(h.one_minus_dampening, 1.0, h.first != 0u);
    (*s).b = h.momentum * (*s).b + share * g;
    let d = select((*s).b, g + h.momentum * (*s).b, h.nesterov != 0u);
    return h.lr * d;
}
