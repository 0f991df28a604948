// factored.wgsl: where the rows and columns of a tensor are, for rules whose second moment is factored over the
// two largest dimensions. A tensor of fewer dimensions has a row for each element, and no columns.
//
// An element's index is (((outer rows + row) between + b) columns + column) inner + i, that of its matrix
// (outer between + b) inner + i, with between and inner the places in the dimensions between the two and behind them.
//
//   table[1].w                where this part of the table starts:
//   table[start]              (records, entries of the workgroups that reduce lines, how many, those that average)
//   table[start + 1]          (how many, entries of those that average the rows of matrices, how many, 0)
//   table[start + 2]          (entries of those that reduce blocks of matrices, how many, 0, 0)
//   table[records + 3 tensor] (rows and columns of a matrix, between or 0 if there are no columns, inner),
//                             (place of the rows, of the columns, of the means of a matrix's rows, group),
//                             (matrices; lanes that stand side by side in a block, 0 where there are no blocks; place of
//                             the terms of the rows, of the columns)
//
// The buffer `factored` has the averages of all rows and columns, then those means, then terms. A line is a row or a
// column.
//
// Generated: APART says whether the rows and columns of some tensor do not lie side by side in fours, as those of matrices
// whose rows are no multiple of four; MIXED whether four neighbours may be in more than two rows, or in several matrices, as
// those of convolutions; VECTORS whether some tensor has no columns; CUT whether some block of a matrix is cut into windows.
// CPUs run both sides of every `if`, so what no tensor needs is not there.

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
    lanes: u32,
    row_terms: u32,
    column_terms: u32,
    inverse_rows: f32,
    inverse_columns: f32,
}

fn find_matrices(tensor: u32) -> Matrices {
    let at = table[table[1].w].x + 3u * tensor;
    let shape = table[at];
    let places = table[at + 1u];
    let terms = table[at + 2u];
    return Matrices(
        shape.x,
        shape.y,
        shape.z,
        shape.w,
        places.x,
        places.y,
        places.z,
        places.w,
        terms.y,
        terms.z,
        terms.w,
        1.0 / f32(shape.x),
        1.0 / f32(shape.y),
    );
}

fn count_matrices(tensor: u32) -> u32 {
    return table[table[table[1].w].x + 3u * tensor + 2u].x;
}

// The buffer is one of vec4, so that neighbours can be read together.
fn word_at(at: u32) -> f32 {
    return factored[at / 4u][at % 4u];
}

fn set_word(at: u32, value: f32) {
    factored[at / 4u][at % 4u] = value;
}

// The sum of up to 16 words, `stride` apart, of which `count` are there. Written out, so that no load waits for another.
fn sum_of_words(at: u32, stride: u32, count: u32) -> f32 {
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let a = words_at(at, stride, four, count);
    let b = words_at(at, stride, four + 4u, count);
    let c = words_at(at, stride, four + 8u, count);
    let d = words_at(at, stride, four + 12u, count);
    return dot((a + b) + (c + d), vec4<f32>(1.0));
}

fn words_at(first: u32, stride: u32, which: vec4<u32>, count: u32) -> vec4<f32> {
    let there = which < vec4<u32>(count);
    let at = first + stride * select(vec4<u32>(0u), which, there);
    let words = vec4<f32>(word_at(at.x), word_at(at.y), word_at(at.z), word_at(at.w));
    return select(vec4<f32>(0.0), words, there);
}

// Where the terms of a line are: 64 lines side by side, of each of the `count` parts that they are added up in.
fn term_place(first: u32, count: u32, line: u32, part: u32) -> u32 {
    return first + (line / WORKGROUP_OF_LINES * count + part) * WORKGROUP_OF_LINES + line % WORKGROUP_OF_LINES;
}

// Lines that one workgroup averages.
const WORKGROUP_OF_LINES: u32 = 64u;

// The first element of a matrix.
fn first_of(m: Matrices, matrix: u32) -> u32 {
    let places = matrix / m.inner;
    let outer = places / m.between;
    return (outer * m.rows * m.between + places % m.between) * m.columns * m.inner + matrix % m.inner;
}

// Rows and columns of four neighbours.
struct Lines {
    rows: vec4<f32>,
    columns: vec4<f32>,
}

// a / b by its inverse: CPUs that play a GPU divide integers one lane after the other. Each estimate is off by a part in
// 2^21 of what it is an estimate of, so that the second is off by one at most.
fn quotient(a: u32, b: u32, inverse: f32) -> u32 {
    let first = u32(f32(a) * inverse);
    let left = i32(a - first * b);
    let second = i32(floor(f32(left) * inverse));
    let q = u32(i32(first) + second);
    let rest = i32(a - q * b);
    return q + select(select(0u, 1u, rest >= i32(b)), 0xffffffffu, rest < 0);
}

// Of four neighbours in one row of a matrix, or in a tensor without columns: one of the two lies side by side.
fn lines_together(m: Matrices, element: u32) -> Lines {
    let vector = m.between == 0u;
    let row = quotient(element, m.columns, m.inverse_columns);
    let matrix = quotient(row, m.rows, m.inverse_rows);
    let line = m.column_place + matrix * m.columns + (element - row * m.columns);
    let neighbours = factored[select(line, m.row_place + element, vector) / 4u];
    let divided = word_at(m.row_place + row) / word_at(m.mean_place + matrix);
    return Lines(
        select(vec4<f32>(divided), neighbours, vector),
        select(neighbours, vec4<f32>(1.0), vector),
    );
}

// Of four neighbours in matrices of four columns or more, which are in one row or in the next, or in a tensor without columns.
fn lines_across(m: Matrices, element: u32) -> Lines {
    let vector = m.between == 0u;
    let row = quotient(element, m.columns, m.inverse_columns);
    let matrix = quotient(row, m.rows, m.inverse_rows);
    let behind = matrix + u32((matrix + 1u) * m.rows == row + 1u);
    let share = word_at(m.row_place + row) / word_at(m.mean_place + matrix);
    let next_share = word_at(m.row_place + row + 1u) / word_at(m.mean_place + behind);
    let column = vec4<u32>(element - row * m.columns) + vec4<u32>(0u, 1u, 2u, 3u);
    let in_next = column >= vec4<u32>(m.columns);
    let line = vec4<u32>(m.column_place)
        + select(vec4<u32>(matrix * m.columns) + column, vec4<u32>((behind - 1u) * m.columns) + column, in_next);
    let columns = vec4<f32>(word_at(line.x), word_at(line.y), word_at(line.z), word_at(line.w));
    let neighbours = factored[select(0u, m.row_place + element, vector) / 4u];
    return Lines(
        select(select(vec4<f32>(share), vec4<f32>(next_share), in_next), neighbours, vector),
        select(columns, vec4<f32>(1.0), vector),
    );
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
    let above = quotient(element, m.inner, 1.0 / f32(m.inner));
    let before = quotient(above, m.columns, m.inverse_columns);
    let row_of_all = quotient(before, m.between, 1.0 / f32(m.between));
    let outer = quotient(row_of_all, m.rows, m.inverse_rows);
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

fn matrix_of(m: Matrices, at: Place) -> u32 {
    return (at.outer * m.between + at.b) * m.inner + at.i;
}

// The average of an element's row over the mean of those of its matrix.
fn row_of(m: Matrices, at: Place) -> f32 {
    let matrix = matrix_of(m, at);
    return word_at(m.row_place + matrix * m.rows + at.row) / word_at(m.mean_place + matrix);
}

// The average of an element's column.
fn column_of(m: Matrices, at: Place) -> f32 {
    return word_at(m.column_place + matrix_of(m, at) * m.columns + at.column);
}

fn lines_of(m: Matrices, element: u32) -> Lines {
    if (MIXED && m.between != 0u && (m.lanes == 0u || m.columns < 4u)) {
        var lines = Lines();
        var at = place_of(m, element);
        for (var lane = 0u; lane < 4u; lane++) {
            lines.rows[lane] = row_of(m, at);
            lines.columns[lane] = column_of(m, at);
            at = next(m, at);
        }
        return lines;
    }
    if (APART) {
        return lines_across(m, element);
    }
    return lines_together(m, element);
}

// What `load_row` needs of a tile.
fn tile_of(tensor: u32, m: Matrices) -> Tile {
    var tile = tile_of_group(m.group, 0u, count_at(0u));
    tile.tensor = tensor;
    return tile;
}
