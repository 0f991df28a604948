// clear_vec4.wgsl: leaves zeros where the gradients were read from, as vec4.

fn clear_gradient(tile: Tile, i: u32, live: u32) {
    let at = tile.grad / 4u + i;
    if (live == 4u) {
        grads[at] = vec4<f32>(0.0);
        return;
    }
    for (var lane = 0u; lane < live; lane++) {
        grads[at][lane] = 0.0;
    }
}
