// How far a step moved the parameters of each replica, on average, and a copy of them for the next time. Row
// number `step.t` of the moves. A workgroup has a replica.

const WIDTH = 64u;

override replicas: u32;
override parameters: u32; // of a replica
override stride: u32;     // from a replica's parameters to the next one's

@group(0) @binding(1) var<storage, read> params: array<f32>;
@group(0) @binding(2) var<storage, read_write> before: array<f32>;
@group(0) @binding(3) var<storage, read_write> moves: array<f32>; // [row, replica]

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < parameters; i += WIDTH) {
        let at = group.x * stride + i;
        let theta = params[at];
        sum += abs(theta - before[at]);
        before[at] = theta;
    }
    partial[lane] = sum;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        moves[step.t * replicas + group.x] = partial[0] / f32(parameters);
    }
}
