//! What a conforming WGSL implementation may return: interval arithmetic with the accuracies of the
//! WGSL specification (section "Floating Point Accuracy"), so that the tolerance of a comparison is
//! computed from the equation instead of chosen.
//!
//! | operation | allowed result |
//! |---|---|
//! | `+ - *` | either `f32` neighbour of the exact result (the result itself where it is an `f32`) |
//! | `/` | 2.5 ULP |
//! | `sqrt` | `1 / inverseSqrt(x)`: 2 ULP, then a division |
//! | `pow` | `exp2(y * log2(x))`: `log2` 2^-21 absolute in [0.5, 2] and 3 ULP elsewhere, `exp2` 3 + 2\|x\| ULP |
//! | `min max abs sign select`, `scaled` (`shaders/core/scaled.wgsl`) | exact |
//! | norms (`shaders/core/reduce.wgsl`) | 1e-6 relative, promised and tested by `tests/norms.rs` |
//! | sums, largest values (the same) | a rounding for each addition on the way; exact |
//!
//! Subnormal inputs and results may be flushed to zero. A fused multiply-add stays inside, since the
//! rounded product's interval contains the exact product. Reassociated sums of three terms may not;
//! rules therefore have none where terms can cancel.

use super::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A closed interval of values, bounds in `f64`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// The promise of the reducing passes: the relative error of a norm.
const NORM_ERROR: f64 = 1e-6;

const SMALLEST_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// The spacing of `f32` at `x`.
fn ulp(x: f64) -> f64 {
    let x = x.abs().max(SMALLEST_NORMAL);
    // The exponent by bits: log2().floor() is off by one just below a power of two.
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    2f64.powi(exponent - 23)
}

/// The largest `f32` that is at most `x + error`, where `|error|` is below half an ULP (f64) of `x`.
fn round_down(x: f64, error: f64) -> f64 {
    let nearest = x as f32;
    let above = nearest as f64 > x || (nearest as f64 == x && error < 0.0);
    if above { nearest.next_down() as f64 } else { nearest as f64 }
}

/// The smallest `f32` that is at least `x + error`.
fn round_up(x: f64, error: f64) -> f64 {
    -round_down(-x, -error)
}

/// The rounding error of `a + b` in `f64`, exactly (Knuth's two-sum).
fn sum_error(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() {
        return 0.0;
    }
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (a - a_rounded) + (b - b_rounded)
}

impl Interval {
    /// The interval of one value.
    pub const fn point(x: f64) -> Self {
        Self { low: x, high: x }
    }

    /// Whether `x` may be returned. Where a bound is not finite the specification allows anything.
    pub fn contains(self, x: f64) -> bool {
        if !self.low.is_finite() || !self.high.is_finite() {
            return true;
        }
        self.low <= x && x <= self.high
    }

    /// The smallest interval that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Distance of `x` from `truth` as a share of the interval's width, at most 1 inside; above 1 outside.
    ///
    /// A result that is rounded once, to nearest, is at most 0.5 away.
    pub fn error_in_units(self, truth: f64, x: f64) -> f64 {
        if !self.low.is_finite() || !self.high.is_finite() || x == truth && self.contains(x) {
            return 0.0;
        }
        let width = self.high - self.low;
        if self.contains(x) {
            (x - truth).abs() / width
        } else {
            let outside = (self.low - x).max(x - self.high);
            if width > 0.0 && outside.is_finite() { 1.0 + outside / width } else { f64::INFINITY }
        }
    }

    /// Subnormal numbers may be replaced by zero.
    fn flushed(self) -> Self {
        let mut out = self;
        if out.low > 0.0 && out.low < SMALLEST_NORMAL {
            out.low = 0.0;
        }
        if out.high < 0.0 && out.high > -SMALLEST_NORMAL {
            out.high = 0.0;
        }
        out
    }

    /// Widens both ends by `n` ULP, for operations whose accuracy is given so.
    fn widened(self, n: f64) -> Self {
        Self { low: self.low - n * ulp(self.low), high: self.high + n * ulp(self.high) }.flushed()
    }

    fn unbounded() -> Self {
        Self { low: f64::NEG_INFINITY, high: f64::INFINITY }
    }

    /// A result beyond `f32`, or none at all, may be anything.
    fn checked(self) -> Self {
        let max = f32::MAX as f64;
        if self.low.is_nan() || self.high.is_nan() || self.low < -max || self.high > max {
            Self::unbounded()
        } else {
            self
        }
    }

    /// The terms of a sum that are numbers, of which the device leaves out what is not finite; none where one may be
    /// either.
    fn finite(terms: &[Self]) -> Option<impl Iterator<Item = &Self> + Clone> {
        let known = terms.iter().all(|term| *term != Self::unbounded());
        known.then(|| terms.iter().filter(|term| term.low.is_finite() && term.high.is_finite()))
    }

    fn is_zero(self) -> bool {
        self.low == 0.0 && self.high == 0.0
    }
}

impl Add for Interval {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        Self {
            low: round_down(a.low + b.low, sum_error(a.low, b.low)),
            high: round_up(a.high + b.high, sum_error(a.high, b.high)),
        }
        .checked()
        .flushed()
    }
}

impl Sub for Interval {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Interval {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        // Exact zero times anything finite is exact zero, also where the other side is unbounded by
        // overflow: no finite result of a conforming implementation differs.
        if a.is_zero() && b.low.is_finite() || b.is_zero() && a.low.is_finite() {
            return Self::point(0.0);
        }
        let products = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
        let low = products.iter().copied().fold(f64::INFINITY, f64::min);
        let high = products.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if products.iter().any(|p| p.is_nan()) {
            return Self::unbounded();
        }
        // Bounds are f32 (exact in f64) or f64 bounds of a division, whose last bit is far below f32's.
        Self { low: round_down(low, 0.0), high: round_up(high, 0.0) }.checked().flushed()
    }
}

impl Div for Interval {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        // The 2.5 ULP hold for divisors of magnitude 2^-126 to 2^126 only.
        let smallest = b.low.abs().min(b.high.abs());
        let largest = b.low.abs().max(b.high.abs());
        if b.low <= 0.0 && b.high >= 0.0 || smallest < SMALLEST_NORMAL || largest > 2f64.powi(126) {
            return Self::unbounded();
        }
        let quotients = [a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high];
        let low = quotients.iter().copied().fold(f64::INFINITY, f64::min);
        let high = quotients.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { low, high }.widened(2.5).checked()
    }
}

impl Neg for Interval {
    type Output = Self;
    fn neg(self) -> Self {
        Self { low: -self.high, high: -self.low }
    }
}

impl Real for Interval {
    fn host(x: f64) -> Self {
        Self::point(x as f32 as f64)
    }
    fn word(x: f32) -> Self {
        Self::point(x as f64)
    }
    fn to_f64(self) -> f64 {
        0.5 * (self.low + self.high)
    }
    fn sqrt(self) -> Self {
        let x = self.flushed();
        if !x.high.is_finite() {
            return Self::unbounded();
        }
        if x.high <= 0.0 {
            return if x.is_zero() { x } else { Self::unbounded() };
        }
        // 1 / inverseSqrt(x), bound by bound: 2 ULP of the inverse root, then 2.5 of the division.
        let root = |x: f64, away: f64| {
            let inverse = 1.0 / x.sqrt();
            let inverse = inverse - away * 2.0 * ulp(inverse);
            let root = 1.0 / inverse;
            root + away * 2.5 * ulp(root)
        };
        let low = if x.low < SMALLEST_NORMAL { 0.0 } else { root(x.low, -1.0) };
        let high = root(x.high.max(SMALLEST_NORMAL), 1.0);
        Self { low, high }.checked()
    }
    fn abs(self) -> Self {
        if self.low >= 0.0 {
            self
        } else if self.high <= 0.0 {
            -self
        } else {
            Self { low: 0.0, high: self.high.max(-self.low) }
        }
    }
    fn sign(self) -> Self {
        let x = self.flushed();
        let sign = |x: f64| <f64 as Real>::sign(x);
        // A subnormal may count as zero.
        let low = if x.low > 0.0 && x.low < SMALLEST_NORMAL { 0.0 } else { sign(x.low) };
        let high = if x.high < 0.0 && x.high > -SMALLEST_NORMAL { 0.0 } else { sign(x.high) };
        Self { low, high }
    }
    fn min(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.min(other.high) }
    }
    fn max(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.max(other.high) }
    }
    fn pow(self, exponent: Self) -> Self {
        let x = self.flushed();
        if x.low < SMALLEST_NORMAL || !x.high.is_finite() {
            return Self::unbounded();
        }
        let log2 = |x: f64, away: f64| {
            let log = x.log2();
            let slack = if (0.5..=2.0).contains(&x) { 2f64.powi(-21) } else { 3.0 * ulp(log) };
            log + away * slack
        };
        let power = exponent * Self { low: log2(x.low, -1.0), high: log2(x.high, 1.0) };
        let exp2 = |x: f64, away: f64| {
            let value = x.exp2();
            value + away * (3.0 + 2.0 * x.abs()) * ulp(value)
        };
        Self { low: exp2(power.low, -1.0).max(0.0), high: exp2(power.high, 1.0) }.checked().flushed()
    }
    fn scaled(self, exponent: i32) -> Self {
        self * Self::point(f64::from(exponent).exp2())
    }
    fn norm(terms: &[Self]) -> Self {
        let (mut low, mut high) = (0.0, 0.0);
        let Some(finite) = Self::finite(terms) else { return Self::unbounded() };
        for term in finite {
            let magnitude = term.abs();
            low += magnitude.low * magnitude.low;
            high += magnitude.high * magnitude.high;
        }
        Self { low: low.sqrt() * (1.0 - NORM_ERROR), high: high.sqrt() * (1.0 + NORM_ERROR) }
            .checked()
            .flushed()
    }
    fn largest(terms: &[Self]) -> Self {
        let Some(finite) = Self::finite(terms) else { return Self::unbounded() };
        let larger = |a: Self, b: &Self| Real::max(a, *b);
        finite.fold(Self::point(0.0), larger)
    }
    fn sum(terms: &[Self], roundings: usize) -> Self {
        let Some(finite) = Self::finite(terms) else { return Self::unbounded() };
        let magnitude: f64 = finite.clone().map(|term| term.abs().high).sum();
        let error = roundings as f64 * 2f64.powi(-24) * magnitude;
        let (low, high) = finite.fold((0.0, 0.0), |(low, high), x| (low + x.low, high + x.high));
        Self { low: low - error, high: high + error }.checked().flushed()
    }
    fn if_less(self, other: Self, yes: Self, no: Self) -> Self {
        if self.high < other.low {
            yes
        } else if self.low >= other.high {
            no
        } else {
            yes.hull(no)
        }
    }
    fn if_zero(self, yes: Self, no: Self) -> Self {
        let x = self.flushed();
        if x.is_zero() {
            yes
        } else if x.low > 0.0 || x.high < 0.0 {
            no
        } else {
            yes.hull(no)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_normal() -> impl Strategy<Value = f32> {
        (any::<bool>(), -60i32..60, 0u32..(1 << 23)).prop_map(|(negative, exponent, mantissa)| {
            let x = f32::from_bits((((exponent + 127) as u32) << 23) | mantissa);
            if negative { -x } else { x }
        })
    }

    proptest! {
        /// Correctly rounded f32 arithmetic is one conforming implementation.
        #[test]
        fn holds_ieee_arithmetic(a in any_normal(), b in any_normal()) {
            let (x, y) = (Interval::word(a), Interval::word(b));
            prop_assert!((x + y).contains((a + b) as f64));
            prop_assert!((x - y).contains((a - b) as f64));
            prop_assert!((x * y).contains((a * b) as f64));
            prop_assert!((x / y).contains((a / b) as f64));
            prop_assert!(x.abs().sqrt().contains(a.abs().sqrt() as f64));
            prop_assert!((x * y + x).contains(a.mul_add(b, a) as f64), "a fused multiply-add");
        }

        /// The bounds are tight: both neighbours are allowed, the next ones are not.
        #[test]
        fn is_tight(a in any_normal(), b in any_normal()) {
            let sum = Interval::word(a) + Interval::word(b);
            prop_assume!((a + b).abs() > 1e-30);
            prop_assert!(sum.high - sum.low <= ulp(sum.high).max(ulp(sum.low)));
            prop_assert!(!sum.contains((a + b).next_up().next_up() as f64));
            prop_assert!(!sum.contains((a + b).next_down().next_down() as f64));
        }
    }

    #[test]
    fn exact_results_have_no_width() {
        let (one, two) = (Interval::point(1.0), Interval::point(2.0));
        assert_eq!(one + two, Interval::point(3.0));
        assert_eq!(one * two, Interval::point(2.0));
        assert_eq!(Interval::point(0.0) * two, Interval::point(0.0));
    }

    #[test]
    fn what_f64_cannot_hold_still_widens() {
        let sum = Interval::point(1.0) + Interval::point(2f64.powi(-80));
        assert_eq!(sum, Interval { low: 1.0, high: 1f32.next_up() as f64 });
    }

    #[test]
    fn subnormals_may_be_flushed() {
        let tiny = Interval::word(1e-40) * Interval::point(1.0);
        assert!(tiny.contains(0.0) && tiny.contains(1e-40f32 as f64));
    }

    #[test]
    fn undecided_comparisons_give_both_branches() {
        let x = Interval { low: 0.9, high: 1.1 };
        let one = Interval::point(1.0);
        let two = Interval::point(2.0);
        assert_eq!(x.if_less(one, one, two), Interval { low: 1.0, high: 2.0 });
        assert_eq!(x.if_less(two, one, two), one);
    }
}
