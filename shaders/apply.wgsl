// apply.wgsl: the dispatch that updates. A gradient that is not finite takes its parameter's place: NaN and
// Inf are passed on, never hidden, on every adapter and in every rule (in the generated `update_quad`).

@compute @workgroup_size(WORKGROUP)
fn optimizer_step(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = find_tile(id, grid, lane);
    if (tile.count == 0u) {
        return;
    }
    let row = load_row(tile);
    let take = taken();
    for (var i = tile.lane; 4u * i < tile.count; i += tile.lanes) {
        let live = min(tile.count - 4u * i, 4u);
        if (take) {
            let theta = load_theta(tile, i, live);
            let g = load_gradient(tile, i, live);
            store_theta(tile, i, live, update_quad(tile, i, theta, g, row));
        }
        clear_gradient(tile, i, live);
    }
}
