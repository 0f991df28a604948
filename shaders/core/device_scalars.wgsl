// device_scalars.wgsl: the dispatch of one invocation between reduce and apply that gives a rule's device scalars, which
// stay on the device from step to step, their new values. It sees the first group's row. A step that is skipped leaves them.

@compute @workgroup_size(WORKGROUP)
fn optimizer_device_scalars(@builtin(local_invocation_index) lane: u32) {
    if (lane != 0u || !taken()) {
        return;
    }
    scratch[DEVICE_SCALARS] = device_scalars_after(load_row(tile_of_group(0u, 0u, count_at(0u))));
}
