// Stands before every kernel. Random numbers that depend on nothing but their coordinates: whoever asks for
// the same run, step and index under the same seed gets the same bits, on every adapter and in any order.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011: Philox4x32-10.

struct Step {
    t: u32, // given to Kernel::record
}

@group(0) @binding(0) var<uniform> step: Step;

/// Low and high word of a * b.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (middle & 0xffffu);
    return vec2(a * b, a1 * b1 + (middle >> 16u) + (carry >> 16u));
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0; round < 10; round++) {
        let x = wide_product(0xd2511f53u, c.x);
        let y = wide_product(0xcd9e8d57u, c.z);
        c = vec4(y.y ^ c.y ^ k.x, y.x, x.y ^ c.w ^ k.y, x.x);
        k += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

/// 128 random bits of this run, step and index.
fn random(seed: u32, run: u32, t: u32, index: u32) -> vec4<u32> {
    return philox(vec4(index, t, run, 0u), vec2(seed, 0u));
}

/// Evenly in (0, 1): the smallest is 2^-33, so that tails made of it reach far; the largest 1 - 2^-24. (WGSL has
/// taken the name `uniform`.)
fn unit(bits: u32) -> f32 {
    return min((f32(bits) + 0.5) * 0x1p-32, 0.99999994);
}

/// Four of a standard normal distribution (Box-Muller; |x| < 6.8).
fn normals(bits: vec4<u32>) -> vec4<f32> {
    let r = sqrt(-2.0 * log(vec2(unit(bits.x), unit(bits.z))));
    let angle = 6.2831853 * (vec2(unit(bits.y), unit(bits.w)) - 0.5);
    return vec4(r.x * cos(angle.x), r.x * sin(angle.x), r.y * cos(angle.y), r.y * sin(angle.y));
}
