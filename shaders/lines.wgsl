// lines.wgsl: where the rows and columns of a tensor are, for rules whose second moment is factored over the
// two largest dimensions. A tensor of fewer dimensions has a row for each element, and no columns.
//
// An element's index is (((outer rows + row) between + b) columns + column) inner + i, that of its matrix
// (outer between + b) inner + i, with between and inner the places in the dimensions between the two and behind them.
//
//   table[1].w                where this part of the table starts:
//   table[start]              (records, workgroups that measure, how many, workgroups that average)
//   table[start + 1]          (how many, workgroups that average the rows of matrices, how many, 0)
//   table[records + 3 tensor] (rows and columns of a matrix, between or 0 if there are no columns, inner),
//                             (place of the rows, of the columns, of the means of a matrix's rows, group),
//                             (matrices, 0, 0, 0)
//
// The buffer of lines has the averages, then those means, then partial sums.

struct Matrices {
    rows: u32,
    columns: u32,
    // 0 without columns.
    between: u32,
    inner: u32,
    row_place: u32,
    column_place: u32,
    mean_place: u32,
    group: u32,
}

fn find_matrices(tensor: u32) -> Matrices {
    let at = table[table[1].w].x + 3u * tensor;
    let shape = table[at];
    let places = table[at + 1u];
    return Matrices(shape.x, shape.y, shape.z, shape.w, places.x, places.y, places.z, places.w);
}

fn count_matrices(tensor: u32) -> u32 {
    return table[table[table[1].w].x + 3u * tensor + 2u].x;
}

// The matrix, row and column of an element.
fn place_of(m: Matrices, element: u32) -> vec3<u32> {
    let above = element / m.inner;
    let before = above / m.columns;
    let row_of_all = before / m.between;
    let outer = row_of_all / m.rows;
    let matrix = (outer * m.between + before % m.between) * m.inner + element % m.inner;
    return vec3<u32>(matrix, row_of_all % m.rows, above % m.columns);
}

// The first element of a matrix.
fn first_of(m: Matrices, matrix: u32) -> u32 {
    let places = matrix / m.inner;
    let outer = places / m.between;
    return (outer * m.rows * m.between + places % m.between) * m.columns * m.inner + matrix % m.inner;
}

// The average of an element's row over the mean of those of its matrix.
fn row_of(m: Matrices, element: u32) -> f32 {
    let place = place_of(m, element);
    return lines[m.row_place + place.x * m.rows + place.y] / lines[m.mean_place + place.x];
}

// The average of an element's column.
fn column_of(m: Matrices, element: u32) -> f32 {
    let place = place_of(m, element);
    return lines[m.column_place + place.x * m.columns + place.z];
}

// Whether four neighbours are in one row.
fn in_a_row(m: Matrices, element: u32) -> bool {
    return m.inner == 1u && element % m.columns + 4u <= m.columns;
}

// Of four neighbours. They mostly share their row: one division instead of four.
fn rows_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.between == 0u) {
        let at = m.row_place + element;
        return vec4<f32>(lines[at], lines[at + 1u], lines[at + 2u], lines[at + 3u]);
    }
    let first = row_of(m, element);
    if (in_a_row(m, element)) {
        return vec4<f32>(first);
    }
    return vec4<f32>(first, row_of(m, element + 1u), row_of(m, element + 2u), row_of(m, element + 3u));
}

fn columns_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.between == 0u) {
        return vec4<f32>(1.0);
    }
    if (in_a_row(m, element)) {
        let place = place_of(m, element);
        let at = m.column_place + place.x * m.columns + place.z;
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
