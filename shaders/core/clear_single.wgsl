// clear_single.wgsl: leaves zeros where the gradients were read from, one by one.

fn clear_one(tile: Tile, element: u32) {
    grads[tile.grad + element] = 0.0;
}

fn clear_gradient(tile: Tile, i: u32, live: u32) {
    for (var lane = 0u; lane < live; lane++) {
        clear_one(tile, 4u * i + lane);
    }
}
