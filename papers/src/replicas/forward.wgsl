// One layer of every replica: y = x w^T + b, and max(y, 0) in hidden ones. An invocation has a block of 8
// samples by 8 outputs.

const BLOCKS = BATCH / 8u;

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;       // [replica or seed, sample, input]
@group(0) @binding(3) var<storage, read> params: array<vec4<f32>>;  // [replica, stride]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [replica, sample, output, whole vec4]

fn activate(sum: vec4<f32>) -> vec4<f32> {
    return select(sum, max(sum, vec4<f32>(0.0)), shape.hidden == 1u);
}

// Columns are samples.
fn finish(sample: u32, quad: u32, sum: mat4x4<f32>) {
    let quads = (shape.outputs + 3u) / 4u;
    if (quad < quads) {
        let at = sample * quads + quad;
        y[at] = activate(sum[0]);
        y[at + quads] = activate(sum[1]);
        y[at + 2u * quads] = activate(sum[2]);
        y[at + 3u * quads] = activate(sum[3]);
    }
}

// A column for each of four rows of vec4.
fn load_x(row: u32, i: u32) -> mat4x4<f32> {
    let quads = shape.inputs / 4u;
    let at = row * quads + i;
    return mat4x4<f32>(x[at], x[at + quads], x[at + 2u * quads], x[at + 3u * quads]);
}

fn load_w(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(params[at.x], params[at.y], params[at.z], params[at.w]));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = (shape.outputs + 7u) / 8u;
    let column = id.x % columns;
    let sample = 8u * (id.x / columns % BLOCKS);
    let replica = id.x / (columns * BLOCKS);
    if (replica >= shape.replicas) {
        return;
    }
    let quads = shape.inputs / 4u;
    let row = select(replica, replica % shape.seeds, shape.first == 1u) * BATCH + sample;
    let own = replica * shape.stride;
    // The last block may reach beyond the outputs: it repeats the last of them.
    let unit = 8u * column + vec4<u32>(0u, 1u, 2u, 3u);
    let w_0 = own + shape.weights_at / 4u + min(unit, vec4<u32>(shape.outputs - 1u)) * quads;
    let w_1 = own + shape.weights_at / 4u + min(unit + 4u, vec4<u32>(shape.outputs - 1u)) * quads;
    let b_0 = params[own + shape.biases_at / 4u + 2u * column];
    let b_1 = params[own + shape.biases_at / 4u + 2u * column + 1u];
    var sum_00 = mat4x4<f32>(b_0, b_0, b_0, b_0);
    var sum_10 = sum_00;
    var sum_01 = mat4x4<f32>(b_1, b_1, b_1, b_1);
    var sum_11 = sum_01;
    for (var i = 0u; i < quads; i++) {
        let x_0 = load_x(row, i);
        let x_1 = load_x(row + 4u, i);
        let rows_0 = load_w(w_0 + i);
        let rows_1 = load_w(w_1 + i);
        sum_00 += rows_0 * x_0;
        sum_01 += rows_1 * x_0;
        sum_10 += rows_0 * x_1;
        sum_11 += rows_1 * x_1;
    }
    let at = replica * BATCH + sample;
    finish(at, 2u * column, sum_00);
    finish(at, 2u * column + 1u, sum_01);
    finish(at + 4u, 2u * column, sum_10);
    finish(at + 4u, 2u * column + 1u, sum_11);
}
