// d_w = d_y^T x and d_b = the column sums of d_y, straight into the gradient arena. A block: 4 outputs (y) by
// 4 inputs (x).

@group(0) @binding(1) var<storage, read> d_y: array<vec4<f32>>; // [samples, outputs]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;   // [samples, inputs]
@group(0) @binding(3) var<storage, read_write> d_w: array<vec4<f32>>; // [outputs, inputs]
@group(0) @binding(4) var<storage, read_write> d_b: array<f32>;       // [outputs]

fn finish(output: u32, quad: u32, sum_w: vec4<f32>, sum_b: f32) {
    if (output < outputs) {
        d_w[output * (inputs / 4u) + quad] = sum_w;
        if (quad == 0u) {
            d_b[output] = sum_b;
        }
    }
}

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let output = 4u * id.y;
    let quads = inputs / 4u;
    if (id.x >= quads || output >= outputs) {
        return;
    }
    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    var sum_b = vec4<f32>(0.0);
    for (var sample = 0u; sample < batch.count; sample++) {
        let d = d_y[sample * ((outputs + 3u) / 4u) + id.y];
        let x_i = x[sample * quads + id.x];
        sum_0 += d.x * x_i;
        sum_1 += d.y * x_i;
        sum_2 += d.z * x_i;
        sum_3 += d.w * x_i;
        sum_b += d;
    }
    finish(output, id.x, sum_0, sum_b.x);
    finish(output + 1u, id.x, sum_1, sum_b.y);
    finish(output + 2u, id.x, sum_2, sum_b.z);
    finish(output + 3u, id.x, sum_3, sum_b.w);
}
