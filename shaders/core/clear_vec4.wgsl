// clear_vec4.wgsl: leaves zeros where the gradients were read from, as vec4.

fn clear_one(tile: Tile, element: u32) {
    let at = tile.grad + element;
    grads[at / 4u][at % 4u] = 0.0;
}

fn clear_gradient(tile: Tile, i: u32, live: u32) {
    if (live == 4u) {
        grads[tile.grad / 4u + i] = vec4<f32>(0.0);
        return;
    }
    for (var lane = 0u; lane < live; lane++) {
        clear_one(tile, 4u * i + lane);
    }
}
