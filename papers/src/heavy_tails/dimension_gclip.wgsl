// As gradient.wgsl, for runs of many coordinates, with the gradient clipped to a norm for each run, in the way
// of GClip: one invocation is one run.

struct Run {
    start: u32,
    coordinates: u32,
    threshold: f32, // in step 1
    exponent: f32,  // of the step's number
}

@group(0) @binding(1) var<storage, read> bank: array<f32>;
@group(0) @binding(2) var<storage, read_write> param: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> average: array<f32>;
@group(0) @binding(5) var<storage, read> runs: array<Run>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= arrayLength(&runs)) {
        return;
    }
    let run = runs[id.x];
    let end = run.start + run.coordinates;
    var squares = 0.0;
    for (var i = run.start; i < end; i++) {
        let x = param[i];
        average[i] += (x - average[i]) * (2.0 / f32(step.t + 1u));
        let g = x + bank[i % arrayLength(&bank)];
        grad[i] = g;
        squares += g * g;
    }
    let norm = sqrt(squares);
    let threshold = run.threshold * pow(f32(step.t), run.exponent);
    if (norm > threshold) {
        for (var i = run.start; i < end; i++) {
            grad[i] *= threshold / norm;
        }
    }
}
