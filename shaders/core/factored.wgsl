// factored.wgsl: where the rows and columns of a tensor are, for rules whose second moment is factored over the
// two largest dimensions. A tensor of fewer dimensions has a row for each element, and no columns.
//
// An element's index is (((outer rows + row) between + b) columns + column) inner + i, that of its matrix
// (outer between + b) inner + i, with between and inner the places in the dimensions between the two and behind them.
//
//   table[1].w                where this part of the table starts:
//   table[start]              (records, entries of the workgroups that reduce, how many, those that average)
//   table[start + 1]          (how many, entries of those that average the rows of matrices, how many, 0)
//   table[records + 3 tensor] (rows and columns of a matrix, between or 0 if there are no columns, inner),
//                             (place of the rows, of the columns, of the means of a matrix's rows, group),
//                             (matrices, 0, 0, 0)
//
// The buffer `factored` has the averages of all rows and columns, then those means, then terms. A line is a row or a
// column.

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

// Where an element is: the five parts of its index.
struct Place {
    outer: u32,
    row: u32,
    b: u32,
    column: u32,
    i: u32,
}

fn place_of(m: Matrices, element: u32) -> Place {
    let above = element / m.inner;
    let before = above / m.columns;
    let row_of_all = before / m.between;
    let outer = row_of_all / m.rows;
    return Place(
        outer,
        row_of_all - outer * m.rows,
        before - row_of_all * m.between,
        above - before * m.columns,
        element - above * m.inner,
    );
}

// The element behind it, without a division: those cost more than all else here.
fn next(m: Matrices, at: Place) -> Place {
    let i = select(at.i + 1u, 0u, at.i + 1u == m.inner);
    let column = at.column + u32(i == 0u);
    let b = at.b + u32(column == m.columns);
    let row = at.row + u32(b == m.between);
    return Place(
        at.outer + u32(row == m.rows),
        select(row, 0u, row == m.rows),
        select(b, 0u, b == m.between),
        select(column, 0u, column == m.columns),
        i,
    );
}

// The first element of a matrix.
fn first_of(m: Matrices, matrix: u32) -> u32 {
    let places = matrix / m.inner;
    let outer = places / m.between;
    return (outer * m.rows * m.between + places % m.between) * m.columns * m.inner + matrix % m.inner;
}

fn matrix_of(m: Matrices, at: Place) -> u32 {
    return (at.outer * m.between + at.b) * m.inner + at.i;
}

// The average of an element's row over the mean of those of its matrix.
fn row_of(m: Matrices, at: Place) -> f32 {
    let matrix = matrix_of(m, at);
    return factored[m.row_place + matrix * m.rows + at.row] / factored[m.mean_place + matrix];
}

// The average of an element's column.
fn column_of(m: Matrices, at: Place) -> f32 {
    return factored[m.column_place + matrix_of(m, at) * m.columns + at.column];
}

// Of four neighbours.
fn rows_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.between == 0u) {
        let at = m.row_place + element;
        return vec4<f32>(factored[at], factored[at + 1u], factored[at + 2u], factored[at + 3u]);
    }
    let x = place_of(m, element);
    let y = next(m, x);
    let z = next(m, y);
    return vec4<f32>(row_of(m, x), row_of(m, y), row_of(m, z), row_of(m, next(m, z)));
}

fn columns_of(m: Matrices, element: u32) -> vec4<f32> {
    if (m.between == 0u) {
        return vec4<f32>(1.0);
    }
    let x = place_of(m, element);
    let y = next(m, x);
    let z = next(m, y);
    return vec4<f32>(column_of(m, x), column_of(m, y), column_of(m, z), column_of(m, next(m, z)));
}

// What `load_row` needs of a tile.
fn tile_of(tensor: u32, m: Matrices) -> Tile {
    var tile = tile_of_group(m.group, 0u);
    tile.tensor = tensor;
    return tile;
}
