//! Schedules: numbers as pure functions of the step, in f64 on the host. They know nothing of any rule:
//! what they give is written to a field of a group before its step.

use crate::error::Refusal;
use crate::json::Distinct;
use crate::rule::Range;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};
use std::f64::consts::PI;

/// A number that changes from step to step: a learning rate, a momentum, a weight decay, any number of any
/// group.
///
/// [`at`](Schedule::at) takes the 1-based index of the update being made and depends on nothing else, so a
/// run that is resumed goes on where it was. Schedules are put together with [`then`](Schedule::then),
/// [`warmup`](Schedule::warmup), [`times`](Schedule::times) and [`scaled`](Schedule::scaled), and are read
/// from and written to JSON as their [`Curve`].
///
/// ```
/// use wgpu_optim::{AnyRule, Curve, Schedule};
/// let schedule = Schedule::new(Curve::Cosine { peak: 8e-3, end: 2e-6, total: 1000 })?.warmup(100)?;
/// let mut rule = AnyRule::named("adamw")?;
/// for step in 1..=1099 {
///     rule.set("lr", schedule.at(step))?; // of optimizer.group_mut(group)?, before optimizer.step(...)
/// }
/// let same: Schedule = serde_json::from_str(
///     r#"{"curve": "warmup", "steps": 100,
///         "schedule": {"curve": "cosine", "peak": 8e-3, "end": 2e-6, "total": 1000}}"#,
/// )?;
/// assert_eq!(schedule, same);
/// assert_eq!((schedule.at(50), schedule.at(100)), (4e-3, 8e-3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Curve", into = "Curve")]
pub struct Schedule(Curve);

/// What a [`Schedule`] looks like. In the formulas t is the step, from 1, and n = t - 1 the number of
/// finished updates, from which some sources count: with those, a rise from 0 makes a first update of rate 0.
///
/// Values may be any finite numbers; numbers of steps are at least 1, but for a warm-up that is not wanted:
/// use a curve without one. Behind its end a curve keeps its last value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Curve {
    /// The same at every step.
    Constant {
        /// Its value.
        value: f64,
    },
    /// `from + (to - from) t / warmup`, and `to` from step `warmup` on.
    ///
    /// Source: J. Ding, X. Ren, R. Luo, X. Sun, "An Adaptive and Momental Bound Method for Stochastic
    /// Learning", 2019, "Warmup learning rate scheme". PyTorch's `LinearLR` counts from n and starts at a
    /// third by default.
    LinearWarmup {
        /// Where it comes from, before the first step.
        from: f64,
        /// Where it goes.
        to: f64,
        /// Steps of the rise.
        warmup: u64,
    },
    /// A factor: `min(1, t / tau)` with `tau = 2 / (1 - beta2)` rounded, for [`times`](Schedule::times).
    ///
    /// Source: J. Ma, D. Yarats, "On the adequacy of untuned warmup for adaptive optimization", 2021. The
    /// package `pytorch_warmup` cuts tau off instead of rounding it, and the quotient falls just short: 1999
    /// for 0.999, 199 for 0.99. To repeat its numbers, take a linear warm-up of that many steps.
    UntunedWarmup {
        /// The optimizer's beta2, in `[0, 1)`.
        beta2: f64,
    },
    /// `peak min(t / warmup, sqrt(warmup / t))`: Vaswani's form, with the peak as its parameter.
    ///
    /// Source: A. Vaswani et al., "Attention Is All You Need", 2017, equation 3. See [`Noam`](Curve::Noam).
    InverseSqrt {
        /// The value at step `warmup`.
        peak: f64,
        /// Steps of the rise.
        warmup: u64,
    },
    /// `from + (peak - from) n / warmup` for `n < warmup`, then `peak sqrt(warmup / n)`: one step behind
    /// Vaswani's, and the first update is at `from`.
    ///
    /// Source: fairseq, `inverse_sqrt`.
    InverseSqrtFairseq {
        /// The first update's value; fairseq's default is 0.
        from: f64,
        /// The value at step `warmup + 1`.
        peak: f64,
        /// Updates of the rise.
        warmup: u64,
    },
    /// `factor width^(-1/2) min(t^(-1/2), t warmup^(-3/2))`: the inverse square root with a peak of
    /// `factor / sqrt(width warmup)`.
    ///
    /// Source: A. Vaswani et al., "Attention Is All You Need", 2017, equation 3.
    Noam {
        /// 1 in the paper.
        factor: f64,
        /// Width of the model, at least 1.
        width: u64,
        /// Steps of the rise.
        warmup: u64,
    },
    /// `peak n / warmup` for `n <= warmup`, then `(peak - end) (1 - (n - warmup) / (total - warmup))^power +
    /// end`: anchored at the end of the warm-up.
    ///
    /// Source: fairseq, `polynomial_decay`.
    Polynomial {
        /// The value at step `warmup + 1`.
        peak: f64,
        /// The value from step `total + 1` on.
        end: f64,
        /// Above 0; 1 is linear.
        power: f64,
        /// Updates of the rise.
        warmup: u64,
        /// Updates of rise and fall, above `warmup`.
        total: u64,
    },
    /// With `p = t / total`: `peak p / warmup` for `p < warmup`, then `peak (1 - p)^power`, 0 from `total`
    /// on. **Not anchored**: at the end of the warm-up it jumps from peak to `peak (1 - warmup)^power`.
    ///
    /// Source: NVIDIA, DeepLearningExamples, BERT, `PolyWarmUpScheduler`.
    PolynomialBert {
        /// What the rise aims at.
        peak: f64,
        /// Above 0; 1/2 in its source.
        power: f64,
        /// Share of the steps in which it rises, in `(0, 1)`.
        warmup: f64,
        /// All steps.
        total: u64,
    },
    /// `value factor^k`, k milestones being at most n: a milestone of 30 counts from the 31st update on.
    ///
    /// Source: PyTorch, `MultiStepLR` (which counts epochs: multiply them by the steps of one).
    MultiStep {
        /// The value before the first milestone.
        value: f64,
        /// By which it is multiplied at each.
        factor: f64,
        /// Updates, at least 1, rising.
        milestones: Vec<u64>,
    },
    /// `end + (peak - end) (1 + cos(pi n / total)) / 2`, and `end` from step `total + 1` on.
    ///
    /// Source: I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
    /// equation 5, without restarts; PyTorch, `CosineAnnealingLR`, which comes up again behind the end.
    Cosine {
        /// The first update's value.
        peak: f64,
        /// The value behind the end.
        end: f64,
        /// Updates of the fall.
        total: u64,
    },
    /// [`Cosine`](Curve::Cosine) again and again: of `period` updates first, of `growth` times as many each
    /// further time.
    ///
    /// Source: I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
    /// equation 5; PyTorch, `CosineAnnealingWarmRestarts`.
    CosineRestarts {
        /// The first value of each period.
        peak: f64,
        /// What each period falls to (and does not reach).
        end: f64,
        /// Updates of the first period.
        period: u64,
        /// At least 1.
        growth: u64,
    },
    /// Linear from `first peak` to peak in `warmup` updates, peak for `hold`, exponential to `last peak` in
    /// `decay`; counted from n.
    ///
    /// Source: D. Park et al., "SpecAugment", 2019, section 3.2; fairseq, `tri_stage`.
    TriStage {
        /// The highest value.
        peak: f64,
        /// The first update's share of peak; 0.01 in fairseq.
        first: f64,
        /// The last value's share of peak, above 0; 0.01 in fairseq.
        last: f64,
        /// Updates of the rise.
        warmup: u64,
        /// Updates at peak, at least 0.
        hold: u64,
        /// Updates of the fall.
        decay: u64,
    },
    /// Up from `peak / divisor` to peak in the first `rise` share of the updates, down to `peak / (divisor
    /// final_divisor)` in the rest, both along half a cosine. As in PyTorch, the peak is at n = `rise total -
    /// 1` and the end at step `total`.
    ///
    /// Source: L. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    /// Learning Rates", 2018; PyTorch, `OneCycleLR`, with its defaults 0.3, 25 and 1e4.
    OneCycle {
        /// The highest value.
        peak: f64,
        /// All updates.
        total: u64,
        /// Share of the updates in which it rises, in `(0, 1)`, more than one update.
        rise: f64,
        /// Above 0.
        divisor: f64,
        /// Above 0.
        final_divisor: f64,
    },
    /// [`Schedule::then`].
    Then {
        /// The one in the first `steps` steps.
        first: Box<Schedule>,
        /// How many those are.
        steps: u64,
        /// The one behind, which starts at its own step 1.
        next: Box<Schedule>,
    },
    /// [`Schedule::warmup`].
    Warmup {
        /// Steps of the rise.
        steps: u64,
        /// The one that it rises to.
        schedule: Box<Schedule>,
    },
    /// [`Schedule::times`].
    Product {
        /// The factors, at least one.
        factors: Vec<Schedule>,
    },
}

/// The name of a curve stands among its numbers, under this key. serde's own way to that is a third of a small module for
/// browsers.
const TAG: &str = "curve";

impl Serialize for Curve {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = Curve::serialize(self, serde_json::value::Serializer).map_err(ser::Error::custom)?;
        let mut numbers = Map::new();
        for (name, inside) in tagged.as_object().into_iter().flatten() {
            numbers.insert(TAG.into(), name.clone().into());
            numbers.extend(inside.as_object().cloned().unwrap_or_default());
        }
        numbers.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Curve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Distinct(mut numbers) = Distinct::deserialize(deserializer)?;
        let numbers = numbers.as_object_mut().map(std::mem::take);
        let Some((Value::String(name), numbers)) =
            numbers.and_then(|mut numbers| Some((numbers.remove(TAG)?, numbers)))
        else {
            return Err(de::Error::missing_field(TAG));
        };
        let tagged: Map<String, Value> = [(name, Value::Object(numbers))].into_iter().collect();
        Curve::deserialize(Value::Object(tagged)).map_err(de::Error::custom)
    }
}

impl TryFrom<Curve> for Schedule {
    type Error = Refusal;
    fn try_from(curve: Curve) -> Result<Self, Refusal> {
        Self::new(curve)
    }
}

impl From<Schedule> for Curve {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

impl Schedule {
    /// A schedule that follows `curve`.
    ///
    /// # Errors
    /// [`Refusal`] of a number that is not finite or outside its range, of a warm-up or length of 0 steps,
    /// and of a total that is not longer than its warm-up.
    pub fn new(curve: Curve) -> Result<Self, Refusal> {
        curve.validate()?;
        Ok(Self(curve))
    }

    /// The same at every step.
    ///
    /// # Errors
    /// [`Refusal`] where it is not finite.
    pub fn constant(value: f64) -> Result<Self, Refusal> {
        Self::new(Curve::Constant { value })
    }

    /// This one for `steps` steps, then `next` from its first step on.
    ///
    /// # Errors
    /// [`Refusal`] for 0 steps.
    pub fn then(self, steps: u64, next: Self) -> Result<Self, Refusal> {
        Self::new(Curve::Then { first: Box::new(self), steps, next: Box::new(next) })
    }

    /// A linear rise in front of this one: `t / steps` of its first value until step `steps`, which is this
    /// one's step 1. All of it comes later by `steps - 1`.
    ///
    /// # Errors
    /// [`Refusal`] for 0 steps.
    pub fn warmup(self, steps: u64) -> Result<Self, Refusal> {
        Self::new(Curve::Warmup { steps, schedule: Box::new(self) })
    }

    /// The product with `factor`, step by step.
    pub fn times(self, factor: Self) -> Self {
        let mut factors = match self.0 {
            Curve::Product { factors } => factors,
            curve => vec![Self(curve)],
        };
        factors.push(factor);
        Self(Curve::Product { factors })
    }

    /// `factor` times this one.
    ///
    /// # Errors
    /// [`Refusal`] where it is not finite.
    pub fn scaled(self, factor: f64) -> Result<Self, Refusal> {
        Ok(self.times(Self::constant(factor)?))
    }

    /// What it looks like.
    pub fn curve(&self) -> &Curve {
        &self.0
    }

    /// The value of the update number `step`, from 1. There is no update 0; asked for it, the schedule gives
    /// the first one's value.
    pub fn at(&self, step: u64) -> f64 {
        let t = step.max(1);
        // Finished updates.
        let n = t - 1;
        match self.0 {
            Curve::Constant { value } => value,
            Curve::LinearWarmup { from, to, warmup } => lerp(from, to, share(t, warmup)),
            Curve::UntunedWarmup { beta2 } => (t as f64 / (2.0 / (1.0 - beta2)).round()).min(1.0),
            Curve::InverseSqrt { peak, warmup } => {
                peak * (t as f64 / warmup as f64).min((warmup as f64 / t as f64).sqrt())
            }
            Curve::InverseSqrtFairseq { from, peak, warmup } => {
                if n < warmup {
                    lerp(from, peak, share(n, warmup))
                } else {
                    peak * (warmup as f64 / n as f64).sqrt()
                }
            }
            Curve::Noam { factor, width, warmup } => {
                let (t, warmup) = (t as f64, warmup as f64);
                factor / (width as f64).sqrt() * (1.0 / t.sqrt()).min(t / (warmup * warmup.sqrt()))
            }
            Curve::Polynomial { peak, end, power, warmup, total } => {
                if n <= warmup {
                    return lerp(0.0, peak, share(n, warmup));
                }
                let left = 1.0 - share(n - warmup, total - warmup);
                (peak - end) * left.powf(power) + end
            }
            Curve::PolynomialBert { peak, power, warmup, total } => {
                let p = share(t, total);
                if p < warmup { peak * p / warmup } else { peak * (1.0 - p).powf(power) }
            }
            Curve::MultiStep { value, factor, ref milestones } => {
                let passed = milestones.iter().filter(|milestone| **milestone <= n).count();
                value * factor.powf(passed as f64)
            }
            Curve::Cosine { peak, end, total } => half_cosine(peak, end, share(n, total)),
            Curve::CosineRestarts { peak, end, period, growth } => {
                let (done, length) = restart(n, period, growth);
                half_cosine(peak, end, share(done, length))
            }
            Curve::TriStage { peak, first, last, warmup, hold, decay } => {
                if n < warmup {
                    lerp(first * peak, peak, share(n, warmup))
                } else {
                    let falling = n.saturating_sub(warmup.saturating_add(hold));
                    peak * (last.ln() * share(falling, decay)).exp()
                }
            }
            Curve::OneCycle { peak, total, rise, divisor, final_divisor } => {
                let (first, last) = (peak / divisor, peak / divisor / final_divisor);
                let (n, top, end) = (n as f64, rise * total as f64 - 1.0, total as f64 - 1.0);
                if n <= top {
                    half_cosine(first, peak, n / top)
                } else {
                    half_cosine(peak, last, ((n - top) / (end - top)).min(1.0))
                }
            }
            Curve::Then { ref first, steps, ref next } => {
                if t <= steps {
                    first.at(t)
                } else {
                    next.at(t - steps)
                }
            }
            Curve::Warmup { steps, ref schedule } => {
                if t < steps {
                    schedule.at(1) * share(t, steps)
                } else {
                    schedule.at(t - steps + 1)
                }
            }
            Curve::Product { ref factors } => factors.iter().map(|factor| factor.at(t)).product(),
        }
    }
}

/// `done / all`, at most 1.
fn share(done: u64, all: u64) -> f64 {
    done.min(all) as f64 / all as f64
}

/// From `from` to `to`, of which it is all at 1.
fn lerp(from: f64, to: f64, share: f64) -> f64 {
    if share < 1.0 { from + (to - from) * share } else { to }
}

/// From `from` to `to` along half a cosine.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    if share < 1.0 { to + (from - to) * (1.0 + (PI * share).cos()) / 2.0 } else { to }
}

/// Updates done since the last restart, and updates from it to the next.
fn restart(n: u64, period: u64, growth: u64) -> (u64, u64) {
    if growth == 1 {
        return (n % period, period);
    }
    let (mut done, mut length) = (n, period);
    while done >= length {
        done -= length;
        length = length.saturating_mul(growth);
    }
    (done, length)
}

impl Curve {
    /// Checks every number.
    fn validate(&self) -> Result<(), Refusal> {
        match *self {
            Curve::Constant { value } => finite([("value", value)]),
            Curve::LinearWarmup { from, to, warmup } => {
                finite([("from", from), ("to", to)])?;
                steps("warmup", warmup)
            }
            Curve::UntunedWarmup { beta2 } => within("beta2", beta2, Range::HalfOpen(0.0, 1.0)),
            Curve::InverseSqrt { peak, warmup } => {
                finite([("peak", peak)])?;
                steps("warmup", warmup)
            }
            Curve::InverseSqrtFairseq { from, peak, warmup } => {
                finite([("from", from), ("peak", peak)])?;
                steps("warmup", warmup)
            }
            Curve::Noam { factor, width, warmup } => {
                finite([("factor", factor)])?;
                steps("width", width)?;
                steps("warmup", warmup)
            }
            Curve::Polynomial { peak, end, power, warmup, total } => {
                finite([("peak", peak), ("end", end)])?;
                within("power", power, Range::Above(0.0))?;
                steps("warmup", warmup)?;
                if total <= warmup {
                    return Err(Refusal::new("total", total, format!("above warmup = {warmup}")));
                }
                Ok(())
            }
            Curve::PolynomialBert { peak, power, warmup, total } => {
                finite([("peak", peak)])?;
                within("power", power, Range::Above(0.0))?;
                inside("warmup", warmup)?;
                steps("total", total)
            }
            Curve::MultiStep { value, factor, ref milestones } => {
                finite([("value", value), ("factor", factor)])?;
                let rising = milestones.is_sorted_by(|a, b| a < b);
                if !rising || milestones.first() == Some(&0) {
                    let limit = "at least 1 each, and rising";
                    return Err(Refusal::new("milestones", format!("{milestones:?}"), limit));
                }
                Ok(())
            }
            Curve::Cosine { peak, end, total } => {
                finite([("peak", peak), ("end", end)])?;
                steps("total", total)
            }
            Curve::CosineRestarts { peak, end, period, growth } => {
                finite([("peak", peak), ("end", end)])?;
                steps("period", period)?;
                steps("growth", growth)
            }
            Curve::TriStage { peak, first, last, warmup, hold: _, decay } => {
                finite([("peak", peak), ("first", first)])?;
                within("last", last, Range::Above(0.0))?;
                steps("warmup", warmup)?;
                steps("decay", decay)
            }
            Curve::OneCycle { peak, total, rise, divisor, final_divisor } => {
                finite([("peak", peak)])?;
                inside("rise", rise)?;
                within("divisor", divisor, Range::Above(0.0))?;
                within("final_divisor", final_divisor, Range::Above(0.0))?;
                if rise * total as f64 <= 1.0 {
                    let limit = format!("above {:.0}, so that its rise has more than one update", 1.0 / rise);
                    return Err(Refusal::new("total", total, limit));
                }
                Ok(())
            }
            Curve::Then { steps: number, .. } | Curve::Warmup { steps: number, .. } => steps("steps", number),
            Curve::Product { ref factors } => match factors.is_empty() {
                true => Err(Refusal::new("factors", "[]", "at least one schedule")),
                false => Ok(()),
            },
        }
    }
}

fn within(field: &'static str, value: f64, limit: Range) -> Result<(), Refusal> {
    limit.check(field, value)
}

fn finite<const N: usize>(values: [(&'static str, f64); N]) -> Result<(), Refusal> {
    values.into_iter().try_for_each(|(field, value)| within(field, value, Range::Finite))
}

/// A share that leaves something on both sides.
fn inside(field: &'static str, value: f64) -> Result<(), Refusal> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { Err(Refusal::new(field, value, "in (0, 1)")) }
}

fn steps(field: &'static str, number: u64) -> Result<(), Refusal> {
    if number > 0 { Ok(()) } else { Err(Refusal::new(field, number, "at least 1")) }
}
