// apply.wgsl: the dispatch that updates. A gradient that is not finite takes its parameter's place: NaN and
// Inf are passed on, never hidden, on every adapter and in every rule (in the generated `update_vec4`).
// `lanes` says which of four elements take part: all that are live, or those of rows that a mask has (row_masks.wgsl).

fn act_on(tile: Tile, i: u32, live: u32, row: Row, lanes: Lanes, trains: bool, acts: bool) {
    if (acts) {
        let theta = load_theta(tile, i, live);
        if (trains) {
            let g = load_gradient(tile, i, live);
            store_theta(tile, i, live, update_vec4(tile, i, theta, g, row, lanes));
        } else {
            store_theta(tile, i, live, convert_vec4(tile, i, theta, row));
        }
    }
    if (trains) {
        clear(tile, i, live, lanes);
    }
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_step(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = find_tile(id, grid, lane);
    if (tile.count == 0u || tile.rests) {
        return;
    }
    let row = load_row(tile);
    let trains = trains(tile, row);
    let acts = !trains || taken();
    for (var i = tile.lane; 4u * i < tile.count; i += tile.lanes) {
        let live = min(tile.count - 4u * i, 4u);
        let lanes = lanes_of(tile, i, live);
        if (acts) {
            count_rows(tile, lanes);
        }
        act_on(tile, i, live, row, lanes, trains, acts && some_act(tile, lanes));
    }
    if (acts && counts(tile)) {
        table[table[1].z + tile.counter / 4u][tile.counter % 4u] = next_count(tile, row);
    }
}
