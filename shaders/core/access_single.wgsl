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

fn load_one(at: u32) -> f32 {
    return grads[at];
}

// Four neighbouring gradients from here on.
fn load_four(at: u32) -> vec4<f32> {
    return vec4<f32>(load_one(at), load_one(at + 1u), load_one(at + 2u), load_one(at + 3u));
}

// Whether four can be loaded together from here on.
fn is_four(at: u32) -> bool {
    return at + 3u < arrayLength(&grads);
}
