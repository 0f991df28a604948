// carry.wgsl: the dispatch of one invocation between measure and apply that gives the scalars which a rule carries
// from step to step their new values. It sees the first group's row. A step that is skipped leaves them.

@compute @workgroup_size(WORKGROUP)
fn optimizer_carry(@builtin(local_invocation_index) lane: u32) {
    if (lane != 0u || !taken()) {
        return;
    }
    scratch[CARRIED] = carried_after(load_row(tile_of_group(0u, 0u)));
}
