// reduce_matrices.wgsl: the dispatch that adds up the rows and the columns of matrices, with one look at each gradient. A
// workgroup handles a block: its invocations stand in `lanes` columns of vec4, side by side, and in rows below one
// another; each takes four times 16 rows. What is not finite is left out. The order depends on the shape alone: where a
// tensor is cut into windows, the next window continues with what each invocation had, and with the terms of the row
// that was cut.
//
//   workgroup: (tensor, first row, first column, where another window finds what it goes on with, or 0),
//              (where the tensor's element 0 would be among the gradients, first element here, end, 1 if first)

// Rows that an invocation takes between two barriers, and how many times. Generated: how many of these times any tensor has
// rows (`TURNS`). Each costs two barriers, and what follows from a table may not decide who comes to them.
const ROWS: u32 = 16u;
const PARTS: u32 = 4u;
// Sums join by eight.
const EIGHT: u32 = 8u;

// A row's sums of four, one for each lane, with one word more a row so that rows do not meet in one bank.
var<workgroup> fours: array<f32, 2u * ROWS * WORKGROUP>;
var<workgroup> totals: array<vec4<f32>, WORKGROUP>;

fn terms_at(at: u32, wanted: vec4<bool>, row: Row) -> vec4<f32> {
    var gradient = load_four(at);
    if (APART && !is_four(at)) {
        for (var lane = 0u; lane < 4u; lane++) {
            gradient[lane] = load_one(select(0u, at + lane, wanted[lane]));
        }
    }
    let g = as_seen(gradient, row);
    let terms = vec4<f32>(
        factored_term(g.x, row.h),
        factored_term(g.y, row.h),
        factored_term(g.z, row.h),
        factored_term(g.w, row.h),
    );
    return select(vec4<f32>(0.0), terms, wanted & !not_finite(gradient) & !not_finite(terms));
}

// What an invocation has of a block.
struct Block {
    first_column: u32,
    end_column: u32,
    end_row: u32,
    here: vec4<u32>,
    column: u32,
    in_block: vec4<bool>,
    x: u32,
    // Words from a row to the next in `fours`.
    stride: u32,
    columns: u32,
    carried: u32,
}

// The terms of four columns of a row that this window has; all that is known of them goes to row `q` of `fours`.
fn terms_of_row(block: Block, row: Row, r: u32, q: u32) -> vec4<f32> {
    let here = block.here;
    let element = vec4<u32>(r * block.columns + block.column) + vec4<u32>(0u, 1u, 2u, 3u);
    let before = element < vec4<u32>(here.y);
    let there = block.in_block & vec4<bool>(r < block.end_row);
    let wanted = there & !before & (element < vec4<u32>(here.z));
    let terms = terms_at(select(0u, here.x + element.x, any(wanted)), wanted, row);
    var all = terms;
    // Of a row that the end of this window cuts, the next one needs these terms.
    if (CUT && r < block.end_row) {
        let begin = r * block.columns + block.first_column;
        let end = r * block.columns + block.end_column;
        if (begin < here.y && end > here.y) {
            all = select(terms, factored[block.carried + 2u * WORKGROUP], before & there);
        }
        if (begin < here.z && end > here.z) {
            factored[block.carried + 2u * WORKGROUP] = all;
        }
    }
    fours[q * block.stride + block.x] = dot(all, vec4<f32>(1.0));
    return terms;
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_reduce(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let header = table[table[1].w + 2u];
    let index = id.y * grid.x + id.x;
    // Every invocation comes to the barriers; see average_matrices.wgsl.
    let live = index < header.y;
    let entry = table[header.x + 2u * select(0u, index, live)];
    let here = table[header.x + 2u * select(0u, index, live) + 1u];
    let m = find_matrices(entry.x);
    let row = load_row(tile_of(entry.x, m));
    let x = lane % m.lanes;
    let y = lane / m.lanes;
    let deep = WORKGROUP / m.lanes;
    let matrix = entry.y / m.rows;
    let end_row = select(0u, min(entry.y + PARTS * ROWS * deep, (matrix + 1u) * m.rows), live);
    let end_column = min(entry.z + 4u * m.lanes, m.columns);
    let column = entry.z + 4u * x;
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let in_block = vec4<u32>(column) + four < vec4<u32>(end_column);
    let carried = entry.w / 4u + lane;

    let block = Block(entry.z, end_column, end_row, here, column, in_block, x, m.lanes + 1u, m.columns, carried);
    // Of four columns: what is added up, and of the rows since.
    var total = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    if (CUT && live && here.w == 0u) {
        total = factored[carried];
        sum = factored[carried + WORKGROUP];
    }
    for (var part = 0u; part < TURNS; part++) {
        let first_row = entry.y + part * ROWS * deep;
        let rows_left = end_row - min(end_row, first_row);
        // Four at a time, written out so that no load waits for another; none where a small matrix has no more rows.
        for (var k = 0u; k < ROWS && k * deep < rows_left; k += 4u) {
            let r = first_row + k * deep + y;
            let a = terms_of_row(block, row, r, k * deep + y);
            let b = terms_of_row(block, row, r + deep, (k + 1u) * deep + y);
            let c = terms_of_row(block, row, r + 2u * deep, (k + 2u) * deep + y);
            let d = terms_of_row(block, row, r + 3u * deep, (k + 3u) * deep + y);
            // A statement each: GLSL compilers balance longer sums, one way with CUT and another without.
            sum += a;
            sum += b;
            sum += c;
            sum += d;
        }
        // Once the last of these rows was here; where a window cuts a block, it is another one that may have it.
        if (CUT) {
            let rows = min(end_row - min(end_row, first_row + y), ROWS * deep);
            let last_row = first_row + y + (max(rows, 1u) - 1u) / deep * deep;
            let last = vec4<u32>(last_row * m.columns + column) + four;
            let done = (last >= vec4<u32>(here.y)) & (last < vec4<u32>(here.z)) & vec4<bool>(rows > 0u);
            total += select(vec4<f32>(0.0), sum, done);
            sum = select(sum, vec4<f32>(0.0), done);
        } else {
            total += sum;
            sum = vec4<f32>(0.0);
        }
        workgroupBarrier();
        for (var q = lane; q < min(ROWS * deep, rows_left); q += WORKGROUP) {
            let r = first_row + q;
            let end = r * m.columns + end_column;
            if (end <= here.y || end > here.z) {
                continue; // of another window
            }
            var of_row = 0.0;
            for (var first = 0u; first < m.lanes; first += EIGHT) {
                var eight = 0.0;
                for (var other = first; other < min(first + EIGHT, m.lanes); other++) {
                    eight += fours[q * (m.lanes + 1u) + other];
                }
                of_row += eight;
            }
            let blocks = (m.columns + 4u * m.lanes - 1u) / (4u * m.lanes);
            set_word(term_place(m.row_terms, blocks, r, entry.z / (4u * m.lanes)), of_row);
        }
        workgroupBarrier();
    }
    if (CUT && live && entry.w != 0u) {
        factored[carried] = total;
        factored[carried + WORKGROUP] = sum;
    }
    totals[lane] = total;
    workgroupBarrier();
    if (!live || y != 0u) {
        return;
    }
    var of_columns = vec4<f32>(0.0);
    for (var first = 0u; first < deep; first += EIGHT) {
        var eight = vec4<f32>(0.0);
        for (var other = first; other < min(first + EIGHT, deep); other++) {
            eight += totals[other * m.lanes + x];
        }
        of_columns += eight;
    }
    let deepest = PARTS * ROWS * deep;
    let blocks = (m.rows + deepest - 1u) / deepest;
    for (var i = 0u; i < 4u && column + i < end_column; i++) {
        let line = matrix * m.columns + column + i;
        set_word(term_place(m.column_terms, blocks, line, (entry.y - matrix * m.rows) / deepest), of_columns[i]);
    }
}
