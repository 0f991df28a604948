// average_factored.wgsl: the dispatch that turns the terms of rows and columns into means, and these into
// the averages that are kept.
//
//   workgroup: (2 tensor + 1 for columns, first line, place of the terms, how many for each line)

@compute @workgroup_size(WORKGROUP)
fn optimizer_average(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = table[1].w;
    let index = id.y * grid.x + id.x;
    if (index >= table[start + 1u].x || !taken()) {
        return;
    }
    let entry = table[table[start].w + index];
    let m = find_matrices(entry.x / 2u);
    let columns = entry.x % 2u == 1u;
    let line = entry.y + lane;
    if (line >= count_matrices(entry.x / 2u) * select(m.rows, m.columns, columns)) {
        return;
    }
    let row = load_row(tile_of(entry.x / 2u, m));
    var total = 0.0;
    for (var part = 0u; part < entry.w; part += 16u) {
        total += sum_of_words(entry.z + part * WORKGROUP + lane, WORKGROUP, entry.w - part);
    }
    let mean = total / f32(select(m.columns, m.rows, columns));
    let at = select(m.row_place, m.column_place, columns) + line;
    set_word(at, factored_average(word_at(at), mean, row.h));
}
