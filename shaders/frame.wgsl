// frame.wgsl: everything of a step that is not the equation. Concatenated with an access file, the
// generated lines for one rule's slots, and the rule itself; see README.md beside this file.
//
// One workgroup updates one tile: a run of elements of one parameter group. The table says which:
//
//   table[0]                     (number of tiles, where the tiles start, vec4 a row, vec4 a packed slot)
//   table[1 + group * row ...]   that group's host scalars, as `struct Hyper` has them
//   table[tiles + 2 i]           (first parameter, first gradient, first state element, elements)
//   table[tiles + 2 i + 1]       (group, tensor, 0, 0)

const WORKGROUP: u32 = 64u;

@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;

struct Tile {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
    slot_stride: u32,
}

// A gradient that is not finite takes its parameter's place: NaN and Inf are passed on, never hidden,
// on every adapter and in every rule. By bits, since WGSL lets a compiler assume that x == x.
fn not_finite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_step(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // The dispatch is folded to two dimensions, so the last row may be longer than the table.
    let index = id.y * grid.x + id.x;
    let header = table[0];
    if (index >= header.x) {
        return;
    }
    let place = table[header.y + 2u * index];
    let owner = table[header.y + 2u * index + 1u];
    let tile = Tile(place.x, place.y, place.z, place.w, header.w);
    let h = load_hyper(1u + owner.x * header.z);
    for (var i = lane; 4u * i < tile.count; i += WORKGROUP) {
        // The last quad may be ragged: what lies behind the tile is read as zero and not written.
        let live = min(tile.count - 4u * i, 4u);
        let theta = load_theta(tile, i, live);
        let g = load_gradient(tile, i, live);
        let updated = update_quad(theta, g, tile.state / 4u + i, tile.slot_stride, h);
        store_theta(tile, i, live, select(updated, g, not_finite(g)));
    }
}
