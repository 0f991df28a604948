// gather_single.wgsl: words one by one, wherever they lie. Generated: how many invocations stand side by side (`SIDE`): all of
// them on GPUs; eight on CPUs, which take as many at once, so that what is next in memory is next in time.

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
    let length = (chunk.count + LANES / SIDE - 1u) / (LANES / SIDE);
    let end = min((lane / SIDE + 1u) * length, chunk.count);
    var i = lane / SIDE * length + lane % SIDE;
    // No division for each word: CPUs take one lane after another through it.
    var row = (chunk.first + i) / width;
    var column = (chunk.first + i) % width;
    let down = SIDE / width;
    let right = SIDE % width;
    // The row that was looked up last.
    var known = 0xffffffffu;
    var begins = 0u;
    for (; i < end; i += SIDE) {
        if (known != row) {
            known = row;
            begins = taken_from(chunk, row);
        }
        let at = begins + column;
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
