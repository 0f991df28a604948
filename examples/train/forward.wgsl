// y = x w^T + b, and max(y, 0) in hidden layers. A block: 4 samples (y) by 4 outputs (x).

override hidden: bool = false;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [samples, inputs]
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>; // [outputs, inputs]
@group(0) @binding(3) var<storage, read> b: array<f32>;       // [outputs]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [samples, outputs]

fn finish(sample: u32, quad: u32, sum: vec4<f32>) {
    y[sample * ((outputs + 3u) / 4u) + quad] = select(sum, max(sum, vec4<f32>(0.0)), hidden);
}

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let sample = 4u * id.y;
    if (4u * id.x >= outputs || sample >= batch.count) {
        return;
    }
    // The last block may reach beyond the outputs: it repeats the last of them.
    let unit = min(vec4<u32>(4u * id.x) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(outputs - 1u));
    let bias = vec4<f32>(b[unit.x], b[unit.y], b[unit.z], b[unit.w]);
    var sum_0 = bias;
    var sum_1 = bias;
    var sum_2 = bias;
    var sum_3 = bias;
    let quads = inputs / 4u;
    let row = unit * quads;
    for (var i = 0u; i < quads; i++) {
        let rows = mat4x4<f32>(w[row.x + i], w[row.y + i], w[row.z + i], w[row.w + i]);
        sum_0 += x[sample * quads + i] * rows;
        sum_1 += x[(sample + 1u) * quads + i] * rows;
        sum_2 += x[(sample + 2u) * quads + i] * rows;
        sum_3 += x[(sample + 3u) * quads + i] * rows;
    }
    finish(sample, id.x, sum_0);
    finish(sample + 1u, id.x, sum_1);
    finish(sample + 2u, id.x, sum_2);
    finish(sample + 3u, id.x, sum_3);
}
