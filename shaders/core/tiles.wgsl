// tiles.wgsl: where a workgroup finds its work. Concatenated with now.wgsl, an access file, one of apply.wgsl and
// reduce.wgsl, the generated lines for one rule's slots, and the rule itself; see README.md beside this file.
//
// One workgroup handles one tile, a run of elements of one parameter group, or some small ones (generated: `PACKED`), each
// with its part of the invocations. The table says which:
//
//   table[0]                     (number of tiles that have a workgroup each, where the tiles start, vec4 a row,
//                                 vec4 a packed slot)
//   table[1]                     (where the terms start in the scratch buffer, tiles in windows before,
//                                 where the counts start, where the tiles end and the entries of factored.wgsl start)
//   table[2]                     (vec4 a counted row, where the counted rows start, vec4 of all groups' counted rows,
//                                 for how many counts there are rows)
//   table[3 + ...]               rows: the host scalars that are set, for each of the last recorded steps and each
//                                group; `now` says which step's are this one's
//   table[counted + ...]         counted rows: the host scalars that follow from the number of steps taken, for each
//                                number and each group (generated: `place_of_count`)
//   table[counts + i / 4][i % 4] the steps that invocation i, or tile i, has taken, and EVALUATES while its weights are for
//                                evaluation
//   table[tiles + 2 i]           (first parameter, first gradient, first state element, elements)
//   table[tiles + 2 i + 1]       (group, tensor, first element in the tensor, number)
//
// Where tensors count their own steps, rows and counted rows are of each tensor, and stand for "group" here.
//
// Whatever follows from the number of steps follows from the counts in the table, so from those that really ran and were
// not skipped, not from those that the host recorded. On CPUs each invocation counts in a word of its own, since a barrier
// between reading and writing a common one costs a sixth of a step there; on GPUs each tile has one, which one invocation
// reads for all and writes (generated: `counter_of`, `count_of`, `WORKGROUP`, and for apply.wgsl `counts`).

@group(0) @binding(0) var<storage, read_write> table: array<vec4<u32>>;
@group(0) @binding(3) var<uniform> now: Now;

// A bit of a count: the weights are those for evaluation.
const EVALUATES: u32 = 0x80000000u;

struct Tile {
    index: u32,
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
    // As table[2], but of the group: its first counted row.
    counted: vec4<u32>,
    row: u32,
    counted_row: u32,
    // The invocation's place among the counts.
    counter: u32,
    // Steps taken before this one.
    steps: u32,
    evaluates: bool,
    // Whether the step leaves it out (generated: `rests_in`).
    rests: bool,
    tensor: u32,
    // What row_masks.wgsl wants to know (generated where there are no masks: `rows_of`, `start_of`).
    rows: vec4<u32>,
    start: vec2<u32>,
    first: u32,
    slot_stride: u32,
    // The invocation's place among those that share the tile, and their number.
    lane: u32,
    lanes: u32,
}

fn count_at(counter: u32) -> u32 {
    return table[table[1].z + counter / 4u][counter % 4u];
}

// The counted row for so many steps.
fn counted_row_of(counted: vec4<u32>, steps: u32) -> u32 {
    return counted.y + place_of_count(steps, counted.w) * counted.z;
}

// What of a tile follows from its group and from the word at `counter` among the counts.
fn tile_of_group(group: u32, counter: u32, word: u32) -> Tile {
    var tile = Tile();
    let counted = table[2];
    tile.counted = vec4<u32>(counted.x, counted.y + group * counted.x, counted.z, counted.w);
    tile.counter = counter;
    tile.steps = word & ~EVALUATES;
    tile.evaluates = (word & EVALUATES) != 0u;
    tile.row = 3u + now.rows + group * table[0].z;
    tile.rests = rests_in(tile.row);
    tile.counted_row = counted_row_of(tile.counted, tile.steps);
    return tile;
}

// The dispatch is folded to two dimensions, so its last row may be longer than the table: no elements then.
fn find_tile(id: vec3<u32>, grid: vec3<u32>, lane: u32) -> Tile {
    let workgroup = id.y * grid.x + id.x;
    let header = table[0];
    let packed = workgroup >= header.x;
    let lanes = select(WORKGROUP, WORKGROUP / PACKED, packed);
    let place_of = select(workgroup, header.x + (workgroup - header.x) * PACKED + lane / lanes, packed);
    let last = table[1].w;
    let at = header.y + 2u * place_of;
    let there = at < last;
    let place = table[select(header.y, at, there)];
    let owner = table[select(header.y, at, there) + 1u];
    let counter = counter_of(select(0u, place_of, there), workgroup * WORKGROUP + lane);
    // All come here: counts may be shared.
    let word = count_of(counter, there && lane % lanes == 0u, select(0u, lane / lanes, packed));
    if (!there) {
        return Tile();
    }
    let of_group = tile_of_group(owner.x, counter, word);
    let tensor = owner.y;
    let first = owner.z;
    let rows = rows_of(tensor);
    return Tile(
        owner.w,
        place.x,
        place.y,
        place.z,
        place.w,
        of_group.counted,
        of_group.row,
        of_group.counted_row,
        of_group.counter,
        of_group.steps,
        of_group.evaluates,
        of_group.rests,
        tensor,
        rows,
        start_of(first, rows),
        first,
        header.w,
        lane % lanes,
        lanes,
    );
}

// By bits, since WGSL lets a compiler assume that x == x.
fn not_finite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
}

// What lies behind a ragged tile is read as zero.
fn masked(x: vec4<f32>, live: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), x, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(live));
}
