// Which of the 11 component functions every run sees at every step: a bit for "the first", 32 runs a word.

override steps: u32 = 1u;
override words: u32 = 1u; // of a step
override seed: u32 = 0u;

@group(0) @binding(1) var<storage, read_write> draws: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= steps * words) {
        return;
    }
    let t = id.x / words + 1u;
    var bits = 0u;
    for (var k = 0u; k < 32u; k++) {
        let run = id.x % words * 32u + k;
        bits |= select(0u, 1u << k, random(seed, run, t, 0u).x % 11u == 0u);
    }
    draws[id.x] = bits;
}
