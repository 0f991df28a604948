// gather_single.wgsl: words one by one, wherever they lie.

@group(0) @binding(2) var<storage, read> old_words: array<u32>;
@group(0) @binding(3) var<storage, read_write> new_words: array<u32>;

@compute @workgroup_size(LANES)
fn gather_rows(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = id.y * grid.x + id.x;
    if (index >= arrayLength(&chunks)) {
        return;
    }
    let chunk = chunks[index];
    let width = chunk.width & ~OF_SLOT;
    // No division for each word: CPUs take one lane after another through it.
    var row = (chunk.first + lane) / width;
    var column = (chunk.first + lane) % width;
    let down = LANES / width;
    let right = LANES % width;
    for (var i = lane; i < chunk.count; i += LANES) {
        let at = taken_from(chunk, row) + column;
        if (at < chunk.old_count) {
            new_words[chunk.to + i] = old_words[chunk.start + at];
        }
        row += down;
        column += right;
        if (column >= width) {
            column -= width;
            row += 1u;
        }
    }
}
