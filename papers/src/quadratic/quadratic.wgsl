// The noisy quadratic model: f(theta) = sum of h_i theta_i^2 / 2 over two coordinates, seen through the
// gradient h_i (theta_i - sigma eps_i). One invocation is one run of one setting; every configuration of the
// optimizer gets the same start and the same noise. Step 0 is the start.

struct Setting {
    h: vec2<f32>,
    sigma: f32,
    start: f32, // standard deviation of the start, or its distance
    fixed: u32, // whether it is a distance
    pad: u32,
}

override RUNS: u32;
override CONFIGS: u32;
override SEED: u32;

@group(0) @binding(1) var<storage, read> settings: array<Setting>;
@group(0) @binding(2) var<storage, read_write> theta: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> g: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let cells = arrayLength(&settings) * RUNS;
    if (id.x >= cells) {
        return;
    }
    let setting = settings[id.x / RUNS];
    let normal = normals(random(SEED, id.x % RUNS, step.t, 0u)).xy;
    if (step.t == 0u) {
        let start = setting.start * select(normal, sign(normal), setting.fixed != 0u);
        for (var config = 0u; config < CONFIGS; config++) {
            theta[config * cells + id.x] = start;
        }
        return;
    }
    let seen = setting.sigma * normal;
    for (var config = 0u; config < CONFIGS; config++) {
        let place = config * cells + id.x;
        g[place] = setting.h * (theta[place] - seen);
    }
}
