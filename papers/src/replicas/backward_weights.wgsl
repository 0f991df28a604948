// One layer's gradients of every replica: d_w = d_y^T x and d_b = the column sums of d_y, straight into the
// gradient arena. An invocation has a block of 8 outputs by 8 inputs.

@group(0) @binding(2) var<storage, read> d_y: array<vec4<f32>>; // [replica, sample, output, whole vec4]
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;   // [replica or seed, sample, input]
@group(0) @binding(4) var<storage, read_write> grads: array<vec4<f32>>; // [replica, stride]

// Columns are outputs.
fn finish(own: u32, output: u32, quad: u32, sum: mat4x4<f32>) {
    let quads = shape.inputs / 4u;
    let at = own + shape.weights_at / 4u + output * quads + quad;
    if (output < shape.outputs) {
        grads[at] = sum[0];
    }
    if (output + 1u < shape.outputs) {
        grads[at + quads] = sum[1];
    }
    if (output + 2u < shape.outputs) {
        grads[at + 2u * quads] = sum[2];
    }
    if (output + 3u < shape.outputs) {
        grads[at + 3u * quads] = sum[3];
    }
}

// Columns are samples.
fn load_d(row: u32, quad: u32) -> mat4x4<f32> {
    let quads = (shape.outputs + 3u) / 4u;
    // Beyond the outputs stands anything; nobody takes it.
    let at = row * quads + min(quad, quads - 1u);
    return mat4x4<f32>(d_y[at], d_y[at + quads], d_y[at + 2u * quads], d_y[at + 3u * quads]);
}

fn load_x(row: u32, quad: u32) -> mat4x4<f32> {
    let quads = shape.inputs / 4u;
    let at = row * quads + quad;
    return mat4x4<f32>(x[at], x[at + quads], x[at + 2u * quads], x[at + 3u * quads]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = shape.inputs / 8u;
    let rows = (shape.outputs + 7u) / 8u;
    let quad = 2u * (id.x % columns);
    let output = 8u * (id.x / columns % rows);
    let replica = id.x / (columns * rows);
    if (replica >= shape.replicas) {
        return;
    }
    var sum_00 = mat4x4<f32>();
    var sum_01 = mat4x4<f32>();
    var sum_10 = mat4x4<f32>();
    var sum_11 = mat4x4<f32>();
    var bias_0 = vec4<f32>(0.0);
    var bias_1 = vec4<f32>(0.0);
    let x_row = select(replica, replica % shape.seeds, shape.first == 1u) * BATCH;
    for (var sample = 0u; sample < BATCH; sample += 4u) {
        let d_0 = load_d(replica * BATCH + sample, output / 4u);
        let d_1 = load_d(replica * BATCH + sample, output / 4u + 1u);
        let x_0 = load_x(x_row + sample, quad);
        let x_1 = load_x(x_row + sample, quad + 1u);
        let turned_0 = transpose(d_0);
        let turned_1 = transpose(d_1);
        sum_00 += x_0 * turned_0;
        sum_01 += x_1 * turned_0;
        sum_10 += x_0 * turned_1;
        sum_11 += x_1 * turned_1;
        bias_0 += d_0[0] + d_0[1] + d_0[2] + d_0[3];
        bias_1 += d_1[0] + d_1[1] + d_1[2] + d_1[3];
    }
    let own = replica * shape.stride;
    finish(own, output, quad, sum_00);
    finish(own, output, quad + 1u, sum_01);
    finish(own, output + 4u, quad, sum_10);
    finish(own, output + 4u, quad + 1u, sum_11);
    if (quad == 0u) {
        let at = own + shape.biases_at / 4u + output / 4u;
        grads[at] = bias_0;
        if (output + 4u < shape.outputs) {
            grads[at + 1u] = bias_1;
        }
    }
}
