// wrappers.wgsl: what may stand around any rule, in the same dispatch. Only in modules that use it.
// Their numbers are those of `now`, which a host may change from step to step.
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
// A gradient before the rule sees it: g <- g average / scale, the mean of micro-batches that were added up,
// under a loss scale; g <- g min(max_norm / |g|, 1) with the norm over all tensors of all groups, then the same
// with each tensor's own norm and max_tensor_norm; then g <- clamp(g, -max_value, max_value).
// Source: Pascanu, Mikolov, Bengio, "On the difficulty of training Recurrent Neural Networks", 2013,
//   algorithm 1; exactly that factor, where torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm.
//
// The cautious mask: only elements whose step goes against their gradient move, by that step over
// max(their share of the tensor, 1e-3).
// Source: Liang, Chen, Liu, Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024,
//   algorithm 1, with the scale of the authors' code.
//
// State: slow with lookahead, ema with an average.

fn look_ahead(slow: vec4<f32>, theta: vec4<f32>, e: Now) -> vec4<f32> {
    return slow + e.alpha * (theta - slow);
}

fn average(ema: vec4<f32>, theta: vec4<f32>, e: Now) -> vec4<f32> {
    return ema + e.one_minus_decay * (theta - ema);
}

fn gradient_factor(all_norm: f32, raw_tensor_norm: f32, inverse_scale: f32, e: Now) -> f32 {
    let average = e.average * inverse_scale;
    let over_all = select(1.0, e.max_norm / all_norm, e.max_norm < all_norm);
    let tensor_norm = raw_tensor_norm * inverse_scale * over_all;
    let over_tensor = select(1.0, e.max_tensor_norm / tensor_norm, e.max_tensor_norm < tensor_norm);
    return average * over_all * over_tensor;
}

// 1 where a step goes against its gradient.
fn agrees(step: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return max(sign(step) * sign(g), vec4<f32>(0.0));
}

fn caution(agreeing: f32, count: f32) -> f32 {
    return 1.0 / max(agreeing / count, 1e-3);
}
