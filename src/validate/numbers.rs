//! Gradients and parameters that look random and are the same everywhere.

use super::Poison;

/// xorshift32, George Marsaglia, "Xorshift RNGs", 2003.
struct Random(u32);

impl Random {
    fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// In [-1, 1).
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        f64::from(self.0) / f64::from(1u32 << 31) - 1.0
    }
}

/// Signed gradients over nine decades, some of them zero; each element keeps its decade, as the coordinates of a network
/// do.
pub(super) fn gradients(tensor: usize, step: u64, len: usize, poison: Poison) -> Vec<f32> {
    let (mut scales, mut values) =
        (Random::new(1 + tensor as u32), Random::new((step as u32) << 8 | tensor as u32));
    let mut one = || {
        let scale = 10f64.powf(4.5 * scales.next() - 2.5);
        let value = values.next();
        if values.next() > 0.9 { 0.0 } else { (value * scale) as f32 }
    };
    let mut all: Vec<f32> = (0..len).map(|_| one()).collect();
    if step == 3 {
        let value = match poison {
            Poison::None => return all,
            Poison::AllZero => return vec![0.0; len],
            Poison::Nan => f32::NAN,
            Poison::Infinity => f32::INFINITY,
            Poison::Subnormal => f32::from_bits(1),
            Poison::MinusZero => -0.0,
        };
        // The first, one in the middle, the last.
        for at in [0, len / 2, len.saturating_sub(1)] {
            all.get_mut(at).into_iter().for_each(|g| *g = value);
        }
    }
    all
}

/// Parameters: some zero or as small as an update, where the update itself is visible to its last bit; the rest of order
/// one, where decay is.
pub(super) fn parameters(tensor: usize, len: usize) -> Vec<f32> {
    let mut random = Random::new(1000 + tensor as u32);
    let mut one = || {
        let value = random.next();
        match random.next() {
            kind if kind < -0.5 => 0.0,
            kind if kind < 0.0 => (value * 1e-3) as f32,
            kind if kind < 0.5 => (value * 1e-6) as f32,
            _ => value as f32,
        }
    };
    (0..len).map(|_| one()).collect()
}
