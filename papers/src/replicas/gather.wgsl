// The batch of each seed at step t: images drawn with replacement to train on, or, to test, batch number t
// modulo `every` of the held-out ones, which are behind the others. An invocation has an image.

const QUADS = 16u; // of an image

@group(0) @binding(2) var<storage, read> pixels: array<vec4<f32>>; // [image, pixel]
@group(0) @binding(3) var<storage, read> labels: array<u32>;       // [image]
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;      // [seed, sample, pixel]
@group(0) @binding(5) var<storage, read_write> batch_labels: array<u32>; // [seed, sample]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= shape.seeds * BATCH) {
        return;
    }
    let i = id.x % BATCH;
    var image = 0u;
    if (shape.test == 1u) {
        // Behind the last one stands the last one again, which the loss leaves out.
        image = shape.samples + min((step.t % shape.every) * BATCH + i, shape.held_out - 1u);
    } else {
        image = random(shape.first_seed + id.x / BATCH, 0u, step.t, i).x % shape.samples;
    }
    batch_labels[id.x] = labels[image];
    for (var quad = 0u; quad < QUADS; quad++) {
        x[id.x * QUADS + quad] = pixels[image * QUADS + quad];
    }
}
