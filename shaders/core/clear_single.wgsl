// clear_single.wgsl: leaves zeros where the gradients were read from, one by one.

fn clear_gradient(tile: Tile, i: u32, live: u32) {
    for (var lane = 0u; lane < live; lane++) {
        grads[tile.grad + 4u * i + lane] = 0.0;
    }
}
