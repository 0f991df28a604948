// x = the batch's images, 0 to 1, one quad an invocation. Rows of images are padded to quads.

override white: f32 = 255.0; // brightest pixel

@group(0) @binding(1) var<storage, read> pixels: array<u32>; // four in a word
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>; // [samples, inputs]

@compute @workgroup_size(8, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quads = inputs / 4u;
    if (id.x >= quads || id.y >= batch.count) {
        return;
    }
    let word = pixels[order[batch.start + id.y] * quads + id.x];
    let bytes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    x[id.y * quads + id.x] = vec4<f32>(bytes) / white;
}
