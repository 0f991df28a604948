// Gradient noise with mean 0. Its kinds share their random bits: a heavier tail makes the same draw larger.

struct Noise {
    kind: u32,
    inv_tail: f32, // 1 / tail index, 0 for a light tail; of rare noise the probability of the large value
    scale: f32,
    shift: f32,    // the mean before it is taken off
}

// Student's t, from Bailey's polar method; Gaussian without a tail.
const SYMMETRIC = 0u;
// Lomax (a Pareto distribution that starts at 0) less its mean; exponential without a tail.
const ONE_SIDED = 1u;
// 0, or with a small probability one large value; less the mean.
const RARE = 2u;
// 0, or with a small probability one large value of either sign.
const RARE_SYMMETRIC = 3u;

fn noise(n: Noise, bits: vec2<u32>) -> f32 {
    let u = unit(bits.x);
    switch n.kind {
        case SYMMETRIC: {
            let square = max(stretched(-2.0 * log(u), n.inv_tail), 0.0);
            return n.scale * sqrt(square) * cos(6.2831853 * (unit(bits.y) - 0.5));
        }
        case ONE_SIDED: {
            return n.scale * max(stretched(-log(u), n.inv_tail), 0.0) - n.shift;
        }
        case RARE: {
            return select(0.0, n.scale, u < n.inv_tail) - n.shift;
        }
        default: {
            return select(0.0, select(n.scale, -n.scale, (bits.y & 1u) == 1u), u < n.inv_tail);
        }
    }
}

/// (e^(c x) - 1) / c, which is x for c = 0.
fn stretched(x: f32, c: f32) -> f32 {
    if (c == 0.0) {
        return x;
    }
    return (exp(c * x) - 1.0) / c;
}
