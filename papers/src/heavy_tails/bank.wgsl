// One step's noise for every run and coordinate, of each kind: whoever is compared reads the same numbers.
// Behind noise.wgsl.

override SEED: u32;
override COUNT: u32; // numbers of a kind, a multiple of 4

@group(0) @binding(1) var<storage, read> noises: array<Noise>;
@group(0) @binding(2) var<storage, read_write> bank: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = (group.x + group.y * 65535u) * 256u + lane;
    for (var i = first; i < min(first + 256u, arrayLength(&bank)); i += 64u) {
        let j = (4u * i) % COUNT;
        let n = noises[(4u * i) / COUNT];
        let a = random(SEED, j, step.t, 0u);
        let b = random(SEED, j, step.t, 1u);
        bank[i] = vec4(noise(n, a.xy), noise(n, a.zw), noise(n, b.xy), noise(n, b.zw));
    }
}
