// One layer of every replica, backwards: d_x = d_y w where x is positive, else 0: x is what the max(x, 0) of
// the layer before let through. An invocation has a block of 8 samples by 8 inputs.

const BLOCKS = BATCH / 8u;

@group(0) @binding(2) var<storage, read> d_y: array<vec4<f32>>;     // [replica, sample, output, whole vec4]
@group(0) @binding(3) var<storage, read> params: array<vec4<f32>>;  // [replica, stride]
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;       // [replica, sample, input]
@group(0) @binding(5) var<storage, read_write> d_x: array<vec4<f32>>; // [replica, sample, input]

fn pass_on(at: u32, sum: vec4<f32>) {
    d_x[at] = select(vec4<f32>(0.0), sum, x[at] > vec4<f32>(0.0));
}

// Columns are samples.
fn finish(sample: u32, quad: u32, sum: mat4x4<f32>) {
    let quads = shape.inputs / 4u;
    let at = sample * quads + quad;
    pass_on(at, sum[0]);
    pass_on(at + quads, sum[1]);
    pass_on(at + 2u * quads, sum[2]);
    pass_on(at + 3u * quads, sum[3]);
}

fn load_d(row: u32, i: u32) -> mat4x4<f32> {
    let quads = (shape.outputs + 3u) / 4u;
    let at = row * quads + i;
    return mat4x4<f32>(d_y[at], d_y[at + quads], d_y[at + 2u * quads], d_y[at + 3u * quads]);
}

fn load_w(at: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(params[at.x], params[at.y], params[at.z], params[at.w]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let columns = shape.inputs / 8u;
    let column = id.x % columns;
    let sample = 8u * (id.x / columns % BLOCKS);
    let replica = id.x / (columns * BLOCKS);
    if (replica >= shape.replicas) {
        return;
    }
    var sum_00 = mat4x4<f32>();
    var sum_01 = mat4x4<f32>();
    var sum_10 = mat4x4<f32>();
    var sum_11 = mat4x4<f32>();
    let row = replica * BATCH + sample;
    for (var i = 0u; i < (shape.outputs + 3u) / 4u; i++) {
        let d_0 = load_d(row, i);
        let d_1 = load_d(row + 4u, i);
        // d_y is 0 beyond the outputs, so it does not matter which row stands there.
        let unit = min(4u * i + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(shape.outputs - 1u));
        let w = replica * shape.stride + shape.weights_at / 4u + unit * (shape.inputs / 4u) + 2u * column;
        let rows_0 = load_w(w);
        let rows_1 = load_w(w + 1u);
        sum_00 += rows_0 * d_0;
        sum_01 += rows_1 * d_0;
        sum_10 += rows_0 * d_1;
        sum_11 += rows_1 * d_1;
    }
    finish(row, 2u * column, sum_00);
    finish(row, 2u * column + 1u, sum_01);
    finish(row + 4u, 2u * column, sum_10);
    finish(row + 4u, 2u * column + 1u, sum_11);
}
