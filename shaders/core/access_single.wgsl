// access_single.wgsl: parameters and gradients one by one, for the caller's own buffers that start or end
// where a vec4 does not fit. The same functions as access_vec4.wgsl.

@group(0) @binding(1) var<storage, read_write> params: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;

fn load_theta(tile: Tile, i: u32, live: u32) -> vec4<f32> {
    var theta = vec4<f32>(0.0);
    for (var lane = 0u; lane < live; lane++) {
        theta[lane] = params[tile.param + 4u * i + lane];
    }
    return theta;
}

fn load_gradient(tile: Tile, i: u32, live: u32) -> vec4<f32> {
    var g = vec4<f32>(0.0);
    for (var lane = 0u; lane < live; lane++) {
        g[lane] = grads[tile.grad + 4u * i + lane];
    }
    return g;
}

fn store_theta(tile: Tile, i: u32, live: u32, theta: vec4<f32>) {
    for (var lane = 0u; lane < live; lane++) {
        params[tile.param + 4u * i + lane] = theta[lane];
    }
}
