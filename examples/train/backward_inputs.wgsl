// d_x = d_y w where x is positive, else 0: x is what the max(x, 0) of the layer before let through. A block:
// 4 samples (y) by 4 inputs (x).

@group(0) @binding(1) var<storage, read> d_y: array<vec4<f32>>; // [samples, outputs]
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;   // [outputs, inputs]
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;   // [samples, inputs]
@group(0) @binding(4) var<storage, read_write> d_x: array<vec4<f32>>; // [samples, inputs]

fn finish(at: u32, sum: vec4<f32>) {
    d_x[at] = select(vec4<f32>(0.0), sum, x[at] > vec4<f32>(0.0));
}

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let sample = 4u * id.y;
    let quads = inputs / 4u;
    if (id.x >= quads || sample >= batch.count) {
        return;
    }
    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    let deltas = (outputs + 3u) / 4u;
    for (var i = 0u; i < deltas; i++) {
        // d_y is 0 beyond the outputs, so it does not matter which row stands there.
        let unit = min(vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(outputs - 1u));
        let row = unit * quads + id.x;
        let rows = mat4x4<f32>(w[row.x], w[row.y], w[row.z], w[row.w]);
        sum_0 += rows * d_y[sample * deltas + i];
        sum_1 += rows * d_y[(sample + 1u) * deltas + i];
        sum_2 += rows * d_y[(sample + 2u) * deltas + i];
        sum_3 += rows * d_y[(sample + 3u) * deltas + i];
    }
    let at = sample * quads + id.x;
    finish(at, sum_0);
    finish(at + quads, sum_1);
    finish(at + 2u * quads, sum_2);
    finish(at + 3u * quads, sum_3);
}
