// scratch.wgsl: what the dispatches of one step tell each other. First the gradients' norm
// (norm, gradients that are not finite, 0, 0), then one vec4 of norms for each tensor, then partial sums.

@group(0) @binding(3) var<storage, read_write> scratch: array<vec4<f32>>;
