// average_matrices.wgsl: the dispatch that finds the mean of each matrix's rows. Matrices of many rows have a
// workgroup each, others an invocation.
//
//   workgroup: (tensor, first matrix, 1 if the workgroup has one alone, 0)

var<workgroup> tree: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn optimizer_average(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let header = table[table[1].w + 1u];
    let index = id.y * grid.x + id.x;
    let live = index < header.z;
    // Every invocation comes to the barriers: browsers refuse a module in which that follows from what another dispatch
    // may have written, as the table is.
    let entry = select(vec4<u32>(0u), table[header.y + select(0u, index, live)], live);
    let m = find_matrices(entry.x);
    let alone = entry.z != 0u;
    let matrix = entry.y + select(lane, 0u, alone);
    let first = select(0u, lane, alone);
    let counts = live && matrix < count_matrices(entry.x);
    let rows = m.row_place + matrix * m.rows;
    let stride = select(1u, WORKGROUP, alone);
    var total = 0.0;
    for (var part = first; counts && part < m.rows; part += 16u * stride) {
        total += sum_of_words(rows + part, stride, (m.rows - part + stride - 1u) / stride);
    }
    tree[lane] = total;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            tree[lane] += tree[lane + half];
        }
        workgroupBarrier();
    }
    if (counts && (lane == 0u || !alone)) {
        set_word(m.mean_place + matrix, select(total, tree[0], alone) / f32(m.rows));
    }
}
