// After a step from 0: the step size that RMSProp took, h_adam = -theta / g, against the h_clip of
// eta = 2 lr / (eps + sqrt(beta2 v)) and tau = (eps + sqrt(beta2 v)) / sqrt(1 - beta2), with the v before the step.
// lr is 1. Of each group and each of BINS ranges of |g| / tau: smallest and largest ratio; then the number of
// ratios, and of those within the printed bounds.

override LEN: u32;  // elements of a group
override BINS: u32; // from 10^-3 to 10^3

struct Config {
    beta2: f32,
    eps: f32,
}

@group(0) @binding(1) var<storage, read> configs: array<Config>;
@group(0) @binding(2) var<storage, read> param: array<f32>;
@group(0) @binding(3) var<storage, read> grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> found: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * 1024u + lane;
    for (var i = first; i < min(first + 1024u, arrayLength(&param)); i += 64u) {
        let g = grad[i];
        let c = configs[i / LEN];
        let old = c.eps + sqrt(c.beta2 * v[i]);
        v[i] = c.beta2 * v[i] + (1.0 - c.beta2) * (g * g);
        if (g == 0.0) {
            continue;
        }
        let tau = old / sqrt(1.0 - c.beta2);
        let h_clip = 2.0 / old * min(tau / abs(g), 1.0);
        let ratio = -param[i] / g / h_clip;
        let place = 0.30103 * log2(abs(g) / tau); // decades
        let bin = u32(clamp((place + 3.0) / 6.0, 0.0, 0.99999) * f32(BINS));
        let at = (i / LEN) * (2u * BINS + 2u);
        // The bits of positive numbers are in the numbers' order.
        atomicMin(&found[at + 2u * bin], bitcast<u32>(ratio));
        atomicMax(&found[at + 2u * bin + 1u], bitcast<u32>(ratio));
        atomicAdd(&found[at + 2u * BINS], 1u);
        if (ratio >= 0.5 && ratio <= 2.0) {
            atomicAdd(&found[at + 2u * BINS + 1u], 1u);
        }
    }
}
