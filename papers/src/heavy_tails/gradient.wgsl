// f(x) = x^2 / 2 in each coordinate: projects what the last step left, takes x into the average, and gives
// the gradient with its noise.

override BOUND: f32; // the domain is [-BOUND, BOUND]

@group(0) @binding(1) var<storage, read> bank: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> param: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> grad: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> average: array<vec4<f32>>; // weighted by the step's number

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.x + group.y * 65535u) * 256u + lane;
    for (var i = first; i < min(first + 256u, arrayLength(&param)); i += 64u) {
        let x = clamp(param[i], vec4(-BOUND), vec4(BOUND));
        param[i] = x;
        average[i] += (x - average[i]) * (2.0 / f32(step.t + 1u));
        grad[i] = x + bank[i % arrayLength(&bank)];
    }
}
