// The limit: a kernel that reads and writes as many bytes as a step does. A copy between buffers is none: a copy engine
// can be slower than a kernel. `QUADS` vec4 an invocation, `WIDTH` invocations a workgroup.

override QUADS: u32 = 1u;
override WIDTH: u32 = 128u;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> target_words: array<vec4<f32>>;

@compute @workgroup_size(WIDTH)
fn copy(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (id.y * grid.x + id.x) * WIDTH * QUADS + lane;
    for (var k = 0u; k < QUADS; k++) {
        let i = first + k * WIDTH;
        if (i >= arrayLength(&target_words)) {
            return;
        }
        target_words[i] = source[i];
    }
}
