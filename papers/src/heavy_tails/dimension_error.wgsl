// f at each run's average, over the number of coordinates.

struct Run {
    start: u32,
    coordinates: u32,
    threshold: f32,
    exponent: f32,
}

@group(0) @binding(1) var<storage, read> average: array<f32>;
@group(0) @binding(2) var<storage, read> runs: array<Run>;
@group(0) @binding(3) var<storage, read_write> errors: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= arrayLength(&runs)) {
        return;
    }
    let run = runs[id.x];
    var squares = 0.0;
    for (var i = run.start; i < run.start + run.coordinates; i++) {
        squares += average[i] * average[i];
    }
    errors[id.x] = 0.5 * squares / f32(run.coordinates);
}
