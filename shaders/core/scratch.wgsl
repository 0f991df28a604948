// scratch.wgsl: what the dispatches of one step, and of a step and the next, tell each other.
//
//   scratch[0]   (norm of all gradients, how many are not finite, 0, 0)
//   scratch[1]   (loss scale of the next step, 1 / loss scale of this one, 1 if it is taken, 0)
//   scratch[2]   (steps skipped, steps in a row without an overflow, 0, 0)
//   then one vec4 of device scalars, where the rule has some
//   then one vec4 of the rule's results over all tensors, where it has such
//   then for each tensor a vec4 each of: (norm of its gradient, ...), the rule's results, what agrees
//   then terms

@group(0) @binding(4) var<storage, read_write> scratch: array<vec4<f32>>;
