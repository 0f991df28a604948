// frame.wgsl: where a workgroup finds its work. Concatenated with an access file, one of apply.wgsl and
// measure.wgsl, the generated lines for one rule's slots, and the rule itself; see README.md beside this file.
//
// One workgroup handles one tile, a run of elements of one parameter group, or eight small ones, each with an
// eighth of its invocations. The table says which:
//
//   table[0]                     (number of tiles that have a workgroup each, where the tiles start, vec4 a row, vec4 a packed slot)
//   table[1]                     (where the partial sums start in the scratch buffer, tiles in windows before,
//                                 vec4 of all groups' rows, where the tiles end and the work lists of
//                                 lines.wgsl start)
//   table[2 + group * row ...]   that group's host scalars: `struct Hyper`, then `struct Extra` if used
//   table[tiles + 2 i]           (first parameter, first gradient, first state element, elements)
//   table[tiles + 2 i + 1]       (group, tensor, first element in the tensor, number)

const WORKGROUP: u32 = 64u;
const PACKED: u32 = 8u;

@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;

struct Tile {
    index: u32,
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
    row: u32,
    tensor: u32,
    first: u32,
    slot_stride: u32,
    // The invocation's place among those that share the tile, and their number.
    lane: u32,
    lanes: u32,
}

// The dispatch is folded to two dimensions, so its last row may be longer than the table: no elements then.
fn find_tile(id: vec3<u32>, grid: vec3<u32>, lane: u32) -> Tile {
    let workgroup = id.y * grid.x + id.x;
    let header = table[0];
    let packed = workgroup >= header.x;
    let lanes = select(WORKGROUP, WORKGROUP / PACKED, packed);
    let place_of = select(workgroup, header.x + (workgroup - header.x) * PACKED + lane / lanes, packed);
    let at = header.y + 2u * place_of;
    if (at >= table[1].w) {
        return Tile();
    }
    let place = table[at];
    let owner = table[at + 1u];
    let row = 2u + owner.x * header.z;
    return Tile(
        owner.w, place.x, place.y, place.z, place.w, row, owner.y, owner.z, header.w, lane % lanes, lanes,
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
