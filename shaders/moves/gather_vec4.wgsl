// gather_vec4.wgsl: four words at a time, as GPUs read memory. New words start at a vec4, old ones anywhere: most rows do not
// start at one.

@group(0) @binding(2) var<storage, read> old_words: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> new_words: array<vec4<u32>>;

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
    var row = (chunk.first + 4u * lane) / width;
    var column = (chunk.first + 4u * lane) % width;
    let down = 4u * LANES / width;
    let right = 4u * LANES % width;
    for (var i = lane; 4u * i < chunk.count; i += LANES) {
        let at = taken_from(chunk, row) + column;
        let inside = at < chunk.old_count && chunk.old_count - at >= 4u;
        // A chunk that ends inside a vec4 ends with its tensor, and so with a row.
        if (column + 4u <= width && inside) {
            new_words[chunk.to / 4u + i] = four_from(chunk.start + at);
        } else {
            move_apart(chunk, i, min(chunk.count - 4u * i, 4u), row, column);
        }
        row += down;
        column += right;
        if (column >= width) {
            column -= width;
            row += 1u;
        }
    }
}

// Four words from one on, of one vec4 or two.
fn four_from(word: u32) -> vec4<u32> {
    let by = word % 4u;
    let low = old_words[word / 4u];
    let high = old_words[(word + 3u) / 4u];
    let odd = select(low, vec4<u32>(low.yzw, high.x), (by & 1u) != 0u);
    let next = select(high.xy, high.yz, (by & 1u) != 0u);
    return select(odd, vec4<u32>(odd.zw, next), (by & 2u) != 0u);
}

// A vec4 of more than one row, or at the end of something.
fn move_apart(chunk: Chunk, i: u32, live: u32, first_row: u32, first_column: u32) {
    let width = chunk.width & ~OF_SLOT;
    var row = first_row;
    var column = first_column;
    var begins = taken_from(chunk, row);
    for (var k = 0u; k < live; k += 1u) {
        let at = begins + column;
        if (at < chunk.old_count) {
            let word = chunk.start + at;
            new_words[chunk.to / 4u + i][k] = old_words[word / 4u][word % 4u];
        }
        column += 1u;
        if (column == width && k + 1u < live) {
            column = 0u;
            row += 1u;
            begins = taken_from(chunk, row);
        }
    }
}
