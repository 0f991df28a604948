// Mean squares of 1, 2, 4 ... runs: level l starts behind the levels before it and has RUNS / 2^l means. The
// step's number says which level is made, from the one before, or from the parameters.

override RUNS: u32; // a power of two

@group(0) @binding(1) var<storage, read> param: array<f32>;
@group(0) @binding(2) var<storage, read_write> means: array<f32>;

fn start(level: u32) -> u32 {
    return 2u * (RUNS - (RUNS >> level));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.x + group.y * 65535u) * 1024u + lane;
    for (var i = first; i < min(first + 1024u, RUNS >> step.t); i += 64u) {
        if (step.t == 0u) {
            means[i] = param[i] * param[i];
        } else {
            let pair = start(step.t - 1u) + 2u * i;
            means[start(step.t) + i] = 0.5 * (means[pair] + means[pair + 1u]);
        }
    }
}
