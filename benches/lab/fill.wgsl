// Numbers that look like gradients: zeros would be kind to a device's power limit.

@group(0) @binding(0) var<storage, read_write> words: array<f32>;

@compute @workgroup_size(64)
fn fill(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // A long run each: a CPU that plays a GPU is slow at starting invocations.
    let first = ((id.y * grid.x + id.x) * 64u + lane) * 64u;
    for (var i = first; i < min(first + 64u, arrayLength(&words)); i++) {
        words[i] = f32((i * 2654435761u) >> 8u) * 0x1p-24 - 0.5;
    }
}
