//! The arithmetic that a rule's reference is written in: one equation, three meanings.
//!
//! | type | meaning |
//! |---|---|
//! | `f32` | what a GPU that rounds correctly returns |
//! | `f64` | the truth |
//! | [`Interval`] | everything that a conforming WGSL implementation may return |

mod interval;

pub use interval::Interval;

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers that an update equation can be written in.
pub trait Real:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// A value computed on the host: `f32` and `Interval` see it rounded to `f32`, as the shader does.
    fn host(x: f64) -> Self;
    /// The stored `f32` word, exactly.
    fn word(x: f32) -> Self;
    /// The nearest `f64` (of an interval, its middle): for reporting.
    fn to_f64(self) -> f64;
    /// WGSL `sqrt`.
    fn sqrt(self) -> Self;
    /// WGSL `abs`.
    fn abs(self) -> Self;
    /// WGSL `sign`: -1, 0 or 1.
    fn sign(self) -> Self;
    /// WGSL `min`.
    fn min(self, other: Self) -> Self;
    /// WGSL `max`.
    fn max(self, other: Self) -> Self;
    /// WGSL `pow`, of a base that is positive.
    fn pow(self, exponent: Self) -> Self;
    /// WGSL `select(no, yes, self < other)`.
    fn if_less(self, other: Self, yes: Self, no: Self) -> Self;
    /// WGSL `select(no, yes, self == 0.0)`.
    fn if_zero(self, yes: Self, no: Self) -> Self;
    /// The norm of `terms` as the device's deterministic sum gives it: within 1e-6 of the truth. What is
    /// not finite is left out.
    fn norm(terms: &[Self]) -> Self;
    /// The largest of `terms`, 0 if there are none, as the device finds it: exact. What is not finite is left
    /// out.
    fn largest(terms: &[Self]) -> Self;
    /// The sum of `terms` as a deterministic sum of the device's gives it, in which no term passes more than
    /// `roundings` additions. What is not finite is left out.
    fn sum(terms: &[Self], roundings: usize) -> Self;
    /// `self` times a power of two, as `scaled` of `shaders/core/scaled.wgsl`.
    fn scaled(self, exponent: i32) -> Self;
    /// WGSL `clamp`, that is `min(max(self, low), high)`.
    fn clamp(self, low: Self, high: Self) -> Self {
        self.max(low).min(high)
    }
}

macro_rules! impl_real_for_float {
    ($float:ident) => {
        impl Real for $float {
            fn host(x: f64) -> Self {
                x as $float
            }
            fn word(x: f32) -> Self {
                x as $float
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn abs(self) -> Self {
                $float::abs(self)
            }
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            fn min(self, other: Self) -> Self {
                $float::min(self, other)
            }
            fn max(self, other: Self) -> Self {
                $float::max(self, other)
            }
            fn pow(self, exponent: Self) -> Self {
                $float::powf(self, exponent)
            }
            fn if_less(self, other: Self, yes: Self, no: Self) -> Self {
                if self < other { yes } else { no }
            }
            fn if_zero(self, yes: Self, no: Self) -> Self {
                if self == 0.0 { yes } else { no }
            }
            fn scaled(self, exponent: i32) -> Self {
                self * (exponent as $float).exp2()
            }
            fn norm(terms: &[Self]) -> Self {
                let finite = terms.iter().map(|x| *x as f64).filter(|x| x.is_finite());
                finite.map(|x| x * x).sum::<f64>().sqrt() as $float
            }
            fn largest(terms: &[Self]) -> Self {
                terms.iter().copied().filter(|x| x.is_finite()).fold(0.0, $float::max)
            }
            fn sum(terms: &[Self], _: usize) -> Self {
                terms.iter().map(|x| *x as f64).filter(|x| x.is_finite()).sum::<f64>() as $float
            }
        }
    };
}

impl_real_for_float!(f32);
impl_real_for_float!(f64);
