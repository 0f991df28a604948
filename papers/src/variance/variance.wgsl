// Gradients N(mean, 1) of four coordinates; three rules see the same. theta starts every step at 0: after the
// step it is -lr g psi, with the adaptive rate psi.

override MAIN: u32; // coordinates of group 0
override SIDE: u32; // of every other
override SEED: u32;

@group(0) @binding(1) var<storage, read> means: array<f32>; // of each group
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> adam: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> radam: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> adagrad: array<vec4<f32>>; // of group 0 alone

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let place = (workgroup.x + workgroup.y * 65535u) * 64u + lane;
    if (place >= arrayLength(&g)) {
        return;
    }
    var index = place;
    var group = 0u;
    if (4u * place >= MAIN) {
        group = 1u + (4u * place - MAIN) / SIDE;
        index = (4u * place - MAIN) % SIDE / 4u;
    } else {
        adagrad[place] = vec4<f32>();
    }
    let normal = normals(random(SEED, index, step.t, 0u)) + means[group];
    // An exact 0 now and then comes of rounding, and has no rate.
    g[place] = select(normal, vec4(1e-8), abs(normal) < vec4(1e-8));
    adam[place] = vec4<f32>();
    radam[place] = vec4<f32>();
}
