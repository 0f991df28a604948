// What is kept of the runs: for each configuration, setting and block of runs the sums of the loss, of its
// square, and of the coordinates' squares. step.t is the number of the snapshot.

struct Setting {
    h: vec2<f32>,
    sigma: f32,
    start: f32,
    fixed: u32,
    pad: u32,
}

override RUNS: u32;
override BLOCK: u32;

@group(0) @binding(1) var<storage, read> settings: array<Setting>;
@group(0) @binding(2) var<storage, read> theta: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // The place in theta is config * cells + setting * RUNS + run, so that blocks follow each other.
    let blocks = arrayLength(&theta) / BLOCK;
    if (id.x >= blocks) {
        return;
    }
    let setting = settings[id.x / (RUNS / BLOCK) % arrayLength(&settings)];
    var sum = vec4<f32>();
    for (var run = 0u; run < BLOCK; run++) {
        let place = theta[id.x * BLOCK + run];
        let loss = 0.5 * dot(setting.h, place * place);
        sum += vec4(loss, loss * loss, place * place);
    }
    sums[step.t * blocks + id.x] = sum;
}
