// factored_vectors.wgsl: the averages of tensors of fewer than two dimensions, which have a row for each element. The first
// pass that looks at their gradients averages them, and later ones read what it left. Not finite terms are left out.

fn with_vectors(m: Matrices, element: u32, gradient: vec4<f32>, g: vec4<f32>, row: Row, again: bool) -> Lines {
    var lines = lines_of(m, element);
    // A second look finds the new averages.
    if (VECTORS && m.between == 0u && taken() && !again) {
        let terms = vec4<f32>(
            factored_term(g.x, row.h),
            factored_term(g.y, row.h),
            factored_term(g.z, row.h),
            factored_term(g.w, row.h),
        );
        let x = select(terms, vec4<f32>(0.0), not_finite(gradient) | not_finite(terms));
        lines.rows = vec4<f32>(
            factored_average(lines.rows.x, x.x, row.h),
            factored_average(lines.rows.y, x.y, row.h),
            factored_average(lines.rows.z, x.z, row.h),
            factored_average(lines.rows.w, x.w, row.h),
        );
        // The rows of a tensor start at a vec4 and own all of their last one.
        factored[(m.row_place + element) / 4u] = lines.rows;
    }
    return lines;
}
