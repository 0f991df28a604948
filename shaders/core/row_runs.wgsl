// row_runs.wgsl: on CPUs, the runs of neighbouring rows of a tile that take part in a step, one after the other: an `if` saves
// no arithmetic there, and a loop that has less to do does. Behind row_masks.wgsl. Generated: whether what rests has something to
// do in the tensor's first step (`STARTS`), and whether some tensor has rows of fewer than three elements (`NARROW`).

// Elements of the tile, and the rows that were looked at, counted from the tile's first one.
struct Run {
    first: u32,
    end: u32,
    rows: u32,
}

fn row_acts(tile: Tile, row: u32) -> bool {
    let at = tile.start.x + row;
    return ((row_words[tile.rows.y + at / 32u] >> (at % 32u)) & 1u) != 0u;
}

// Counts the rows that begin in the tile, those that rest too.
fn count_all(tile: Tile, rows: u32) {
    let before = tile.rows.z + tile.steps % 2u * tile.rows.w;
    let after = tile.rows.z + (tile.steps + 1u) % 2u * tile.rows.w;
    for (var row = tile.lane; OWN_STEPS && row < rows; row += tile.lanes) {
        if (row > 0u || tile.start.y == 0u) {
            let at = tile.start.x + row;
            row_words[after + at] = row_words[before + at] + select(0u, 1u, row_acts(tile, row));
        }
    }
}

// Rows that the tile has elements of. A quotient by way of f32 is one off at most, as in `lanes_of`.
fn rows_in(tile: Tile) -> u32 {
    let at = tile.start.y + tile.count - 1u;
    var rows = u32(f32(at) / f32(tile.rows.x));
    rows -= select(0u, 1u, rows * tile.rows.x > at);
    rows += select(0u, 1u, at - rows * tile.rows.x >= tile.rows.x);
    return rows + 1u;
}

// Two runs would write one vec4 where rows of fewer than three elements lie between them.
fn all_at_once(tile: Tile) -> bool {
    return tile.rows.x < 3u || (STARTS && tile.steps == 0u);
}

// The run behind those rows; none is left where it has no elements.
fn next_run(tile: Tile, looked_at: u32, rows: u32) -> Run {
    if (all_at_once(tile)) {
        return Run(0u, select(0u, tile.count, looked_at == 0u), rows);
    }
    var row = looked_at;
    var bits = 0u;
    while (bits == 0u && row < rows) {
        let at = tile.start.x + row;
        bits = row_words[tile.rows.y + at / 32u] >> (at % 32u);
        row += select(countTrailingZeros(bits), 32u - at % 32u, bits == 0u);
    }
    // Every 32nd row begins a vec4, so a run may end with a word of the mask.
    let acting = bits >> countTrailingZeros(bits);
    let end = min(row + countTrailingZeros(~acting), rows);
    let begin = max(row * tile.rows.x, tile.start.y) - tile.start.y;
    return Run(begin, select(0u, min(end * tile.rows.x - tile.start.y, tile.count), row < end), end);
}

// The elements of a vec4 that are in the run.
fn lanes_in(tile: Tile, i: u32, live: u32, run: Run) -> Lanes {
    if (OWN_STEPS || STARTS || NARROW) {
        return lanes_of(tile, i, live);
    }
    let at = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
    let acts = (at >= vec4<u32>(run.first)) & (at < vec4<u32>(run.end));
    return Lanes(acts, vec4<u32>(tile.steps), vec4<u32>(0u), vec4<bool>(false));
}
