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
// with each tensor's own norm and max_tensor_norm; then g <- clamp(g, -max_value, max_value). What a norm leaves of a
// gradient is right wherever it is a number, also where the norm, or what g is multiplied by, lies beyond f32.
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

// (Not "average": a built-in function of some GLSL compilers.)
fn averaged(ema: vec4<f32>, theta: vec4<f32>, e: Now) -> vec4<f32> {
    return ema + e.one_minus_decay * (theta - ema);
}

// value 2^exponent.
struct Factor {
    value: f32,
    exponent: i32,
}

// What a gradient is multiplied by: a Factor as three products, the first two of powers of two. CPUs run both sides of
// every `if`, so all gradients take all three.
struct Products {
    first: f32,
    second: f32,
    value: f32,
    // 0, which no compiler knows: it would make one product of three, which may not be in f32.
    zero: u32,
}

// Norms are results of combine.wgsl, of the gradients as the host gave them; 0 where nothing is reduced. `zero` is 0.
fn gradient_factor(
    all_norm: vec4<f32>,
    tensor_norm: vec4<f32>,
    inverse_scale: f32,
    e: Now,
    zero: u32,
) -> Products {
    let average = Factor(e.average * inverse_scale, 0);
    let over_all = at_most(e.max_norm, all_norm, average);
    let factor = at_most(e.max_tensor_norm, tensor_norm, over_all);
    let half = factor.exponent / 2;
    return Products(power_of_two(half), power_of_two(factor.exponent - half), factor.value, zero);
}

// Of exponents whose power is a normal number.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// The factor that leaves no more than max_norm of a norm, or the one before, if that does.
fn at_most(max_norm: f32, norm: vec4<f32>, before: Factor) -> Factor {
    let size = norm.z;
    let exponent = i32(norm.w);
    if (scaled(max_norm, -exponent - before.exponent) >= size * before.value) {
        return before;
    }
    let value = max_norm / size;
    // One product, where f32 holds it.
    let one = i32(bitcast<u32>(value) >> 23u) - exponent;
    if (one > 0 && one < 255) {
        return Factor(scaled(value, -exponent), 0);
    }
    return Factor(value, -exponent);
}

fn multiplied(g: vec4<f32>, factor: Products) -> vec4<f32> {
    let zero = vec4<u32>(factor.zero);
    let once = bitcast<vec4<f32>>(bitcast<vec4<u32>>(g * factor.first) ^ zero);
    let twice = bitcast<vec4<f32>>(bitcast<vec4<u32>>(once * factor.second) ^ zero);
    return twice * factor.value;
}

// 1 where a step goes against its gradient.
fn agrees(step: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    let agreeing = ((step > zero) & (g > zero)) | ((step < zero) & (g < zero));
    return select(zero, vec4<f32>(1.0), agreeing);
}

fn caution(agreeing: f32, count: f32) -> f32 {
    return 1.0 / max(agreeing / count, 1e-3);
}
