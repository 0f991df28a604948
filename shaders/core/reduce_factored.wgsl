// reduce_factored.wgsl: the dispatch that adds up rows and columns. A workgroup handles 64 lines, an invocation
// up to 1024 elements of one of them, 32 by 32, in an order that depends on the shape alone: where a tensor is
// cut into windows, each continues the sums of the one before. What is not finite is left out. For tensors whose rows and
// columns do not lie as those of a matrix; see reduce_matrices.wgsl.
//
//   workgroup: (2 tensor + 1 for columns, first line, first element of the lines, place of the 64 totals),
//              (where the tensor's element 0 would be among the gradients, first element here, end, 1 if first)

const CHUNK: u32 = 1024u;
const PART: u32 = 32u;

fn term_of(at: u32, row: Row) -> f32 {
    let gradient = load_one(at);
    let term = factored_term(as_seen(vec4<f32>(gradient), row).x, row.h);
    return select(term, 0.0, any(not_finite(vec4<f32>(gradient, term, 0.0, 0.0))));
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_reduce(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let header = table[table[1].w];
    let index = id.y * grid.x + id.x;
    if (index >= header.z) {
        return;
    }
    let entry = table[header.y + 2u * index];
    let place = table[header.y + 2u * index + 1u];
    let m = find_matrices(entry.x / 2u);
    let columns = entry.x % 2u == 1u;
    let line = entry.y + lane;
    let lines_each = select(m.rows, m.columns, columns);
    if (line >= count_matrices(entry.x / 2u) * lines_each) {
        return;
    }
    let row = load_row(tile_of(entry.x / 2u, m));
    let length = select(m.columns, m.rows, columns);
    let stride = m.between * m.columns * m.inner;
    let step = select(m.inner, stride, columns);
    let first = first_of(m, line / lines_each) + line % lines_each * select(stride, m.inner, columns);
    // The sums of 32 that another window goes on with lie behind the totals.
    let chunks = (length + CHUNK - 1u) / CHUNK;
    let behind = entry.w + chunks * WORKGROUP + lane;
    var total = 0.0;
    var sum = 0.0;
    if (place.w == 0u) {
        total = word_at(entry.w + lane);
        sum = word_at(behind);
    }
    let end = min(entry.z + CHUNK, length);
    for (var part = entry.z; part < end; part += PART) {
        let part_end = min(part + PART, end);
        let last = first + (part_end - 1u) * step;
        if (last < place.y) {
            continue; // in a window before
        }
        for (var i = part; i < part_end; i++) {
            let element = first + i * step;
            if (element >= place.y && element < place.z) {
                sum += term_of(place.x + element, row);
            }
        }
        if (last < place.z) {
            total += sum;
            sum = 0.0;
        }
    }
    set_word(entry.w + lane, total);
    set_word(behind, sum);
}
