// The alternative to beat: AdamW for one tensor, written by hand for it alone. No table, no groups, no
// ragged ends; `QUADS` vec4 an invocation, `WIDTH` invocations a workgroup.

override QUADS: u32 = 1u;
override WIDTH: u32 = 256u;

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bc2: f32,
    eps: f32,
    step_size: f32,
    keep: f32,
}

@group(0) @binding(0) var<uniform> h: Hyper;
@group(0) @binding(1) var<storage, read_write> params: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> ms: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> vs: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn adamw(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (id.y * grid.x + id.x) * WIDTH * QUADS + lane;
    for (var k = 0u; k < QUADS; k++) {
        let i = first + k * WIDTH;
        if (i >= arrayLength(&params)) {
            return;
        }
        let g = grads[i];
        let m = h.beta1 * ms[i] + h.one_minus_beta1 * g;
        let v = h.beta2 * vs[i] + h.one_minus_beta2 * (g * g);
        params[i] = h.keep * params[i] - h.step_size * (m / (sqrt(v * h.inv_bc2) + h.eps));
        ms[i] = m;
        vs[i] = v;
    }
}
