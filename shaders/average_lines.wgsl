// average_lines.wgsl: the dispatch that turns the partial sums of rows and columns into means, and these into
// the averages that are kept.
//
//   workgroup: (2 tensor + 1 for columns, first line, place of the partial sums, how many for each line)

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
    let unit = table[table[start].w + index];
    let m = find_matrices(unit.x / 2u);
    let columns = unit.x % 2u == 1u;
    let line = unit.y + lane;
    if (line >= count_matrices(unit.x / 2u) * select(m.rows, m.columns, columns)) {
        return;
    }
    let row = load_row(tile_of(unit.x / 2u, m));
    var total = 0.0;
    for (var i = 0u; i < unit.w; i++) {
        total += lines[unit.z + i * 2u * WORKGROUP + lane];
    }
    let mean = total / f32(select(m.columns, m.rows, columns));
    let at = select(m.row_place, m.column_place, columns) + line;
    lines[at] = line_average(lines[at], mean, row.h);
}
