// The gradient of f(x) = |x|^2 / 2 with noise, clipped to a norm for each run where the threshold is reached,
// and each run's loss over the last steps. One invocation is one run.

override RUNS: u32;        // of one configuration in one scenario
override COORDINATES: u32; // a multiple of 4
override NOISES: u32;
override STEPS: u32;
override WINDOW: u32;      // steps at the end whose loss counts

// What a coordinate's noise is multiplied by: powers of ten.
override SPREAD: f32; // between the first and the last coordinate
override FALL: f32;   // from the first step to the last

@group(0) @binding(1) var<storage, read> bank: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> param: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> grad: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
@group(0) @binding(5) var<storage, read> thresholds: array<f32>; // one for each configuration and scenario

fn decades(x: vec4<f32>) -> vec4<f32> {
    return exp2(3.3219281 * x);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let run = (group.x + group.y * 65535u) * 64u + lane;
    if (run >= arrayLength(&losses)) {
        return;
    }
    let cell = run / RUNS;
    // Scenarios: for each variant all noises. The first bit of a variant spreads, the second lets fall.
    let variant = (cell / NOISES) % 4u;
    let spread = f32(variant & 1u) * SPREAD;
    let fall = f32(variant >> 1u) * FALL * f32(step.t - 1u) / f32(STEPS - 1u);
    let quads = COORDINATES / 4u;
    let noise = ((cell % NOISES) * RUNS + run % RUNS) * quads;

    var loss = 0.0;
    var squares = 0.0;
    for (var i = 0u; i < quads; i++) {
        let x = param[run * quads + i];
        let place = (vec4(0.0, 1.0, 2.0, 3.0) + f32(4u * i)) / f32(COORDINATES - 1u) - 0.5;
        let g = x + decades(spread * place - fall) * bank[noise + i];
        grad[run * quads + i] = g;
        loss += 0.5 * dot(x, x);
        squares += dot(g, g);
    }
    let norm = sqrt(squares);
    if (norm > thresholds[cell]) {
        for (var i = 0u; i < quads; i++) {
            grad[run * quads + i] *= thresholds[cell] / norm;
        }
    }
    if (step.t + WINDOW > STEPS) {
        losses[run] += loss / f32(WINDOW);
    }
}
