// Counts, for each seed of a setting, how many coordinates have which learning rate, or gradient, on a
// logarithmic axis. Row number `step.t` of the counts. An invocation has a coordinate.

override parameters: u32; // of a replica
override stride: u32;     // from a replica's parameters to the next one's
override seeds: u32;
override kind: u32;       // 0: |g|, 1: Adam's rate, 2: AdaMod's
override bins: u32;
override low: f32;        // decade at which the first bin starts; what is below is counted there
override per_decade: f32; // bins

// Of a row: lr, 1 / (1 - beta2^t), eps.
@group(0) @binding(1) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> a: array<f32>; // [seed, coordinate]: g, or v
@group(0) @binding(3) var<storage, read> b: array<f32>; // of AdaMod: s
// Bins of coordinates whose a is not 0, bins of the others.
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>; // [row, seed, 2, bin]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let seed = id.x / stride;
    if (seed >= seeds || id.x % stride >= parameters) {
        return;
    }
    var value = abs(a[id.x]);
    let never = value == 0.0;
    if (kind > 0u) {
        let row = rows[step.t];
        value = row.x / (sqrt(value * row.y) + row.z);
    }
    if (kind == 2u) {
        value = min(value, b[id.x]);
    }
    let place = (log2(value) * 0.30103 - low) * per_decade;
    let bin = u32(clamp(place, 0.0, f32(bins - 1u)));
    let part = (step.t * seeds + seed) * 2u + select(0u, 1u, never);
    atomicAdd(&counts[part * bins + bin], 1u);
}
