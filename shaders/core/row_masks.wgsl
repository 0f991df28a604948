// row_masks.wgsl: the rows of a tensor that take part in a step. A row is what belongs to one index of the first dimension.
// Only in modules whose program has masks; where it has none, all that is live acts, and these functions are generated.
//
//   row_words                    for each tensor a bit for each row, which the host sets; then, where rows count their own
//                                steps (generated: `OWN_STEPS`), two banks of a count for each row
//   table[end of tiles + tensor] (elements of a row, first word of the mask, first word of the first bank, words of a bank)
//
// A step reads counts from one bank and writes all of them to the other, since a row may be in more than one tile. Which
// is which follows from the steps of the tensor.

struct Lanes {
    // Whether an element is there and its row takes part.
    acts: vec4<bool>,
    // Steps that the element took before this one.
    steps: vec4<u32>,
    row: vec4<u32>,
    // Whether an element is there and the first of its row.
    begins: vec4<bool>,
}

// What a tile remembers of the table.
fn rows_of(tensor: u32) -> vec4<u32> {
    return table[table[1].w + tensor];
}

// The row of a tile's first element, and its place in that row.
fn start_of(first: u32, rows: vec4<u32>) -> vec2<u32> {
    let row = first / rows.x;
    return vec2<u32>(row, first - row * rows.x);
}

// Counts for four neighbouring elements: mostly the same one.
fn words_at(first: u32, at: vec4<u32>) -> vec4<u32> {
    var words = vec4<u32>(row_words[first + at.x]);
    if (at.w != at.x) {
        words.y = row_words[first + at.y];
        words.z = row_words[first + at.z];
        words.w = row_words[first + at.w];
    }
    return words;
}

fn lanes_of(tile: Tile, i: u32, live: u32) -> Lanes {
    let lane = vec4<u32>(0u, 1u, 2u, 3u);
    let there = lane < vec4<u32>(live);
    // Rows from the tile's first to this element's. A quotient by way of f32 is one off at most, since a tile has no more
    // than 2^20 elements; a division of integers takes a third of a step on CPUs.
    let at = tile.start.y + 4u * i;
    var rows = u32(f32(at) / f32(tile.rows.x));
    rows -= select(0u, 1u, rows * tile.rows.x > at);
    rows += select(0u, 1u, at - rows * tile.rows.x >= tile.rows.x);
    let first = tile.start.x + rows;
    // Four neighbours are in one row or in the next three.
    let elements = vec4<u32>(tile.rows.x);
    let in_row = vec4<u32>(at - rows * tile.rows.x) + lane;
    let one = vec4<u32>(1u);
    let none = vec4<u32>(0u);
    let behind = select(none, one, in_row >= elements)
        + select(none, one, in_row >= 2u * elements)
        + select(none, one, in_row >= 3u * elements);
    let row = vec4<u32>(first) + behind;
    // Each 32nd row begins a vec4, so four neighbours have one word.
    let bits = vec4<u32>(row_words[tile.rows.y + first / 32u]) >> (row & vec4<u32>(31u));
    let acts = there & ((bits & one) != none);
    var steps = vec4<u32>(tile.steps);
    if (OWN_STEPS) {
        steps = words_at(tile.rows.z + tile.steps % 2u * tile.rows.w, row);
    }
    return Lanes(acts, steps, row, there & (behind * elements == in_row));
}

fn acting(x: vec4<f32>, lanes: Lanes) -> vec4<f32> {
    return select(vec4<f32>(0.0), x, lanes.acts);
}

// Counts the rows that begin here, those that rest too.
fn count_rows(tile: Tile, lanes: Lanes) {
    if (!OWN_STEPS || !any(lanes.begins)) {
        return;
    }
    let bank = tile.rows.z + (tile.steps + 1u) % 2u * tile.rows.w;
    let steps = lanes.steps + select(vec4<u32>(0u), vec4<u32>(1u), lanes.acts);
    for (var lane = 0u; lane < 4u; lane++) {
        if (lanes.begins[lane]) {
            row_words[bank + lanes.row[lane]] = steps[lane];
        }
    }
}
