// scaled.wgsl: multiplication by a power of two through the bits of the exponent. Norms need it where numbers lie beyond
// f32 on the way: a product of floats with such constants may be reassociated (x * 2^-96 * 2^-96 becomes x * 0) and its
// subnormal results flushed, which WGSL allows and compilers do; integers are what they are.

// x 2^exponent: 0 below the normal numbers, where x may lie too, and the largest number above them. What is not finite
// stays.
fn scaled(x: f32, exponent: i32) -> f32 {
    let bits = bitcast<u32>(x);
    let before = i32((bits >> 23u) & 0xffu);
    let after = before + exponent;
    let sign = bits & 0x80000000u;
    let magnitude = (bits & 0x007fffffu) | (u32(clamp(after, 0, 254)) << 23u);
    var to = select(magnitude, 0x7f7fffffu, after > 254);
    to = select(to, 0u, before == 0 || after <= 0);
    return bitcast<f32>(select(sign | to, bits, before == 255));
}

fn scaled_vec4(x: vec4<f32>, exponent: i32) -> vec4<f32> {
    return vec4<f32>(scaled(x.x, exponent), scaled(x.y, exponent), scaled(x.z, exponent), scaled(x.w, exponent));
}
