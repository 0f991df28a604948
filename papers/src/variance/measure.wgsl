// One workgroup a block of coordinates, at record step.t: sums of the adaptive rate less a given number close
// to its mean, and of its square.

override BLOCK: u32;
override MAIN: u32;
override SIDE: u32;
override GROUPS: u32;
override BLOCKS: u32; // of all groups

@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> theta: array<f32>;
@group(0) @binding(3) var<storage, read> shifts: array<vec2<f32>>; // scale and shift of each record and group
@group(0) @binding(4) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> partial: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = workgroup.x * BLOCK;
    let group = select(1u + (first - MAIN) / SIDE, 0u, first < MAIN);
    let shift = shifts[step.t * GROUPS + group];
    var sum = vec2<f32>();
    for (var i = first + lane; i < first + BLOCK; i += 64u) {
        let rate = -theta[i] / g[i] * shift.x - shift.y;
        sum += vec2(rate, rate * rate);
    }
    partial[lane] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        sums[step.t * BLOCKS + workgroup.x] = partial[0];
    }
}
