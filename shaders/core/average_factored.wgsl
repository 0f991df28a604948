// average_factored.wgsl: the dispatch that turns the terms of rows and columns into means, and these into the averages that
// are kept. A workgroup has four blocks of 64 lines, an invocation four lines of one.
//
//   block: (2 tensor + 1 for columns, first line, place of the terms, how many for each line)

const QUADS: u32 = WORKGROUP_OF_LINES / 4u;

// A term of four lines, if there are so many.
fn terms_of(entry: vec4<u32>, quad: u32, part: u32) -> vec4<f32> {
    let there = part < entry.w;
    let at = entry.z / 4u + select(0u, part, there) * QUADS + quad;
    return select(vec4<f32>(0.0), factored[at], there);
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_average(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = table[1].w;
    let index = 4u * (id.y * grid.x + id.x) + lane / QUADS;
    if (index >= table[start + 1u].x || !taken()) {
        return;
    }
    let entry = table[table[start].w + index];
    let m = find_matrices(entry.x / 2u);
    let columns = entry.x % 2u == 1u;
    let quad = lane % QUADS;
    let line = entry.y + 4u * quad;
    let lines = count_matrices(entry.x / 2u) * select(m.rows, m.columns, columns);
    if (line >= lines) {
        return;
    }
    let row = load_row(tile_of(entry.x / 2u, m));
    var total = vec4<f32>(0.0);
    // Eight at a time, written out so that no load waits for another.
    for (var part = 0u; part < entry.w; part += 8u) {
        let a = terms_of(entry, quad, part) + terms_of(entry, quad, part + 1u);
        let b = terms_of(entry, quad, part + 2u) + terms_of(entry, quad, part + 3u);
        let c = terms_of(entry, quad, part + 4u) + terms_of(entry, quad, part + 5u);
        let d = terms_of(entry, quad, part + 6u) + terms_of(entry, quad, part + 7u);
        // A statement each: GLSL compilers balance longer sums.
        let first = a + b;
        let second = c + d;
        let eight = first + second;
        total += eight;
    }
    let means = total / f32(select(m.columns, m.rows, columns));
    // The lines of a tensor start at a vec4 and own all of their last one.
    let at = (select(m.row_place, m.column_place, columns) + line) / 4u;
    let old = factored[at];
    let averages = vec4<f32>(
        factored_average(old.x, means.x, row.h),
        factored_average(old.y, means.y, row.h),
        factored_average(old.z, means.z, row.h),
        factored_average(old.w, means.w, row.h),
    );
    factored[at] = select(old, averages, vec4<u32>(line) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(lines));
}
