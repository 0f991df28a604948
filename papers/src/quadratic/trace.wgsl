// One workgroup a configuration, after step step.t: mean and mean square of the loss over the runs of the
// first setting, and where one run is.

override RUNS: u32;
override CONFIGS: u32;
override SHOWN: u32;
override H0: f32;
override H1: f32;

@group(0) @binding(1) var<storage, read> theta: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> traces: array<vec4<f32>>;

var<workgroup> partial: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let base = group.x * RUNS;
    var sum = vec2<f32>();
    for (var run = lane; run < RUNS; run += 64u) {
        let place = theta[base + run];
        let loss = 0.5 * dot(vec2(H0, H1), place * place);
        sum += vec2(loss, loss * loss);
    }
    partial[lane] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        traces[step.t * CONFIGS + group.x] = vec4(partial[0] / f32(RUNS), theta[base + SHOWN]);
    }
}
