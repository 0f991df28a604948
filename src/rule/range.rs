//! Numbers of a configuration and the ranges that they must be in.

use crate::error::Refusal;

/// The range of a number in a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Finite and at least this.
    AtLeast(f64),
    /// Finite and above this.
    Above(f64),
    /// In `[low, high)`.
    HalfOpen(f64, f64),
    /// In `[low, high]`.
    Closed(f64, f64),
    /// Any finite number.
    Finite,
}

impl Range {
    /// Checks a number as it will be used: in `f32`, where what is too small may count as zero.
    ///
    /// # Errors
    /// [`Refusal`] that names `field`, the value and the range.
    pub fn check(self, field: &'static str, x: f64) -> Result<(), Refusal> {
        let used = f64::from(x as f32);
        let what = if !self.allows(x) {
            String::new()
        } else if !used.is_finite() {
            format!(", and at most {:e}, which f32 holds", f32::MAX)
        } else if x != 0.0 && used.abs() < f64::from(f32::MIN_POSITIVE) {
            format!(", and 0 or at least {:e} in magnitude: GPUs may take less for 0", f32::MIN_POSITIVE)
        } else if !self.allows(used) {
            format!(", also in f32, where it is {used}")
        } else {
            return Ok(());
        };
        Err(Refusal::new(field, x, format!("{self}{what}")))
    }

    /// Whether `x` is inside; NaN and infinities never are.
    pub fn allows(self, x: f64) -> bool {
        x.is_finite()
            && match self {
                Range::AtLeast(low) => x >= low,
                Range::Above(low) => x > low,
                Range::HalfOpen(low, high) => x >= low && x < high,
                Range::Closed(low, high) => x >= low && x <= high,
                Range::Finite => true,
            }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Range::AtLeast(low) => write!(f, "finite and at least {low}"),
            Range::Above(low) => write!(f, "finite and above {low}"),
            Range::HalfOpen(low, high) => write!(f, "in [{low}, {high})"),
            Range::Closed(low, high) => write!(f, "in [{low}, {high}]"),
            Range::Finite => write!(f, "finite"),
        }
    }
}

/// One number of a configuration of type `M`: its name, its range, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Number<M> {
    /// Its name, as in the struct and in JSON.
    pub name: &'static str,
    /// What it may be.
    pub range: Range,
    /// The number; `None` where an option is not given.
    pub of: fn(&mut M) -> Option<&mut f64>,
}

/// A field of a configuration that holds a number, or may hold one.
pub trait NumberField {
    /// The number, if it is given.
    fn number(&mut self) -> Option<&mut f64>;
}

impl NumberField for f64 {
    fn number(&mut self) -> Option<&mut f64> {
        Some(self)
    }
}

impl NumberField for Option<f64> {
    fn number(&mut self) -> Option<&mut f64> {
        self.as_mut()
    }
}

/// The numbers of a configuration and their ranges, for [`Rule::NUMBERS`](crate::rule::Rule::NUMBERS): fields of type
/// `f64`, or `Option<f64>` where a number may be left out.
///
/// ```
/// struct Configuration { lr: f64, beta3: Option<f64> }
/// use wgpu_optim::rule::{Number, Range};
/// const NUMBERS: &[Number<Configuration>] = &wgpu_optim::numbers! {
///     Configuration; lr: AtLeast(0.0), beta3: HalfOpen(0.0, 1.0)
/// };
/// assert_eq!(NUMBERS[1].range.to_string(), "in [0, 1)");
/// ```
#[macro_export]
macro_rules! numbers {
    ($rule:ty; $($field:ident : $range:ident $(($($bound:expr),*))?),* $(,)?) => {
        [$($crate::rule::Number::<$rule> {
            name: stringify!($field),
            range: $crate::rule::Range::$range $(($($bound),*))?,
            of: |rule| $crate::rule::NumberField::number(&mut rule.$field),
        }),*]
    };
}
