// Sums of the averages and of their squares over batches of runs. The step's number is the place in the trace.

override BATCH: u32; // runs

@group(0) @binding(1) var<storage, read> average: array<f32>;
@group(0) @binding(2) var<storage, read_write> trace: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let batches = arrayLength(&average) / BATCH;
    if (id.x >= batches) {
        return;
    }
    var sums = vec2(0.0);
    for (var i = id.x * BATCH; i < (id.x + 1u) * BATCH; i++) {
        sums += vec2(average[i], average[i] * average[i]);
    }
    trace[step.t * batches + id.x] = sums / f32(BATCH);
}
