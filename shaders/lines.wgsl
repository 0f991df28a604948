// lines.wgsl: where the rows and columns of a tensor are, for rules whose second moment is factored over the
// last two dimensions. A tensor of fewer dimensions has a row for each element, and no columns.
//
//   table[1].w                where this part of the table starts:
//   table[start]              (records, workgroups that measure, how many, workgroups that average)
//   table[start + 1]          (how many, workgroups that average the rows of matrices, how many, 0)
//   table[records + 2 tensor] (rows and columns of a matrix, 1 if there are columns, group),
//                             (place of the rows, of the columns, of the means of a matrix's rows, matrices)
//
// The buffer of lines has the averages, then those means, then partial sums.

struct Matrices {
    rows: u32,
    columns: u32,
    factored: u32,
    group: u32,
    row_place: u32,
    column_place: u32,
    mean_place: u32,
    count: u32,
}

fn find_matrices(tensor: u32) -> Matrices {
    let at = table[table[1].w].x + 2u * tensor;
    let shape = table[at];
    let places = table[at + 1u];
    return Matrices(shape.x, shape.y, shape.z, shape.w, places.x, places.y, places.z, places.w);
}

// The average of an element's row over the mean of those of its matrix.
fn row_of(m: Matrices, element: u32) -> f32 {
    let row = element / m.columns;
    return lines[m.row_place + row] / lines[m.mean_place + row / m.rows];
}

// The average of an element's column.
fn column_of(m: Matrices, element: u32) -> f32 {
    let row = element / m.columns;
    return lines[m.column_place + row / m.rows * m.columns + (element - row * m.columns)];
}

// Of four neighbours. They mostly share their row: one division instead of four.
fn rows_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.factored == 0u) {
        let at = m.row_place + element;
        return vec4<f32>(lines[at], lines[at + 1u], lines[at + 2u], lines[at + 3u]);
    }
    let first = row_of(m, element);
    if (element % m.columns + 4u <= m.columns) {
        return vec4<f32>(first);
    }
    return vec4<f32>(first, row_of(m, element + 1u), row_of(m, element + 2u), row_of(m, element + 3u));
}

fn columns_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.factored == 0u) {
        return vec4<f32>(1.0);
    }
    let row = element / m.columns;
    let column = element - row * m.columns;
    if (column + 4u <= m.columns) {
        let at = m.column_place + row / m.rows * m.columns + column;
        return vec4<f32>(lines[at], lines[at + 1u], lines[at + 2u], lines[at + 3u]);
    }
    return vec4<f32>(
        column_of(m, element),
        column_of(m, element + 1u),
        column_of(m, element + 2u),
        column_of(m, element + 3u),
    );
}

// What `load_row` needs of a tile.
fn tile_of(tensor: u32, m: Matrices) -> Tile {
    var tile = tile_of_group(m.group, 0u);
    tile.tensor = tensor;
    return tile;
}
