// A gradient with a scale of its own in each coordinate. The parameter goes back to 0, so that after the step it
// is the step itself, without a rounding of the difference.

override DECADES: f32; // scales go from 10^(1 - DECADES) to 10

@group(0) @binding(1) var<storage, read> bank: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> param: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> grad: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * 256u + lane;
    for (var i = first; i < min(first + 256u, arrayLength(&param)); i += 64u) {
        let j = i % arrayLength(&bank);
        param[i] = vec4(0.0);
        grad[i] = bank[j] * exp2(3.3219281 * (1.0 - DECADES * f32(j) / f32(arrayLength(&bank))));
    }
}
