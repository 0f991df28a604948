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
    if (index >= header.z) {
        return;
    }
    let unit = table[header.y + index];
    let m = find_matrices(unit.x);
    if (unit.z == 0u) {
        let matrix = unit.y + lane;
        if (matrix < count_matrices(unit.x)) {
            var total = 0.0;
            for (var i = 0u; i < m.rows; i++) {
                total += lines[m.row_place + matrix * m.rows + i];
            }
            lines[m.mean_place + matrix] = total / f32(m.rows);
        }
        return;
    }
    var total = 0.0;
    for (var i = lane; i < m.rows; i += WORKGROUP) {
        total += lines[m.row_place + unit.y * m.rows + i];
    }
    tree[lane] = total;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            tree[lane] += tree[lane + half];
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        lines[m.mean_place + unit.y] = tree[0] / f32(m.rows);
    }
}
