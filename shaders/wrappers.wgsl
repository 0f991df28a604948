// wrappers.wgsl: what may stand around any rule, in the same dispatch. Only in modules that use it.
//
// Lookahead: slow_0 = theta_0; at every k-th step
//   slow  <- slow + alpha (theta - slow)
//   theta <- slow
// Source: Zhang, Lucas, Hinton, Ba, "Lookahead Optimizer: k steps forward, 1 step back", 2019, algorithm 1.
//
// Average of the weights, for evaluation: ema_0 = theta_0;
//   ema   <- ema + (1 - decay) (theta - ema)
// Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, with the
//   exponential weights that the field uses.
//
// Clipping, of a gradient before the rule sees it: g <- g min(max_norm / |g|, 1) with the norm over all tensors
// of all groups, then g <- clamp(g, -max_value, max_value).
// Source: Pascanu, Mikolov, Bengio, "On the difficulty of training Recurrent Neural Networks", 2013,
//   algorithm 1; exactly that factor, where torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm.
//
// State: slow with lookahead, ema with an average.

struct Extra {
    ring: u32,
    first: u32,
    sync: u32,
    alpha: f32,
    one_minus_decay: f32,
    max_norm: f32,
    max_value: f32,
}

fn look_ahead(slow: vec4<f32>, theta: vec4<f32>, e: Extra) -> vec4<f32> {
    return slow + e.alpha * (theta - slow);
}

fn average(ema: vec4<f32>, theta: vec4<f32>, e: Extra) -> vec4<f32> {
    return ema + e.one_minus_decay * (theta - ema);
}

fn clip_factor(norm: f32, e: Extra) -> f32 {
    return select(1.0, e.max_norm / norm, e.max_norm < norm);
}
