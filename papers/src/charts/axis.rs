//! An axis' range, where its ticks are and what they are called.

use super::Axis;

/// An axis from 0 to 1.
#[derive(Debug, Clone)]
pub struct Scale {
    log: bool,
    /// Of logarithms, on a logarithmic axis.
    low: f64,
    high: f64,
}

/// A tick at a share of the axis; small ones have no label.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub label: Option<String>,
}

impl Scale {
    /// For these values, with a share `room` of the range to spare on either side.
    pub fn new(axis: &Axis, values: impl Iterator<Item = f64>, room: f64) -> Self {
        let log = axis.log;
        let drawn = |x: f64| if log { x.log10() } else { x };
        if let Some((low, high)) = axis.range {
            return Self { log, low: drawn(low), high: drawn(high) };
        }
        let values = values.map(drawn).filter(|x| x.is_finite());
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        // A single value stands in the middle.
        let spread = high - low;
        let room = if spread > 1e-9 * low.abs().max(high.abs()) && spread > 0.0 {
            room * spread
        } else if log || low == 0.0 {
            0.5
        } else {
            0.1 * low.abs()
        };
        Self { log, low: low - room, high: high + room }
    }

    /// Share of the axis below `value`, if it can be drawn; outside 0 to 1 it is beyond the axis.
    pub fn share(&self, value: f64) -> Option<f64> {
        let value = if self.log { value.log10() } else { value };
        Some((value - self.low) / (self.high - self.low)).filter(|share| share.is_finite())
    }

    /// About `count` labelled ticks.
    pub fn ticks(&self, count: usize) -> Vec<Tick> {
        let span = self.high - self.low;
        let mut values = if !self.log {
            even(self.low, self.high, count)
        } else if span < 0.7 {
            even(10f64.powf(self.low), 10f64.powf(self.high), count)
        } else {
            self.decades(count)
        };
        values.retain(|(value, _)| {
            self.share(*value).is_some_and(|share| (-1e-9..=1.0 + 1e-9).contains(&share))
        });
        let tick = |(value, label): (f64, Option<String>)| Some(Tick { at: self.share(value)?, label });
        values.into_iter().filter_map(tick).collect()
    }

    /// Powers of ten, or every so manieth, and what lies between them.
    fn decades(&self, count: usize) -> Vec<(f64, Option<String>)> {
        let span = self.high - self.low;
        let stride = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000];
        let wanted = span / count.max(1) as f64;
        let stride = stride.into_iter().find(|stride| f64::from(*stride) >= wanted).unwrap_or(5000);
        let within = if span < 2.2 { &[2, 5][..] } else { &[] };
        let mut ticks = vec![];
        for exponent in self.low.floor() as i32..=self.high.ceil() as i32 {
            let decade = 10f64.powi(exponent);
            ticks.push((decade, (exponent % stride == 0).then(|| name(decade, exponent))));
            if span < 7.0 {
                for digit in 2..10 {
                    let value = f64::from(digit) * decade;
                    ticks.push((value, within.contains(&digit).then(|| name(value, exponent))));
                }
            }
        }
        ticks
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn even(low: f64, high: f64, count: usize) -> Vec<(f64, Option<String>)> {
    let wanted = (high - low) / count.max(1) as f64;
    let power = 10f64.powf(wanted.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|x| x * power).into_iter().find(|step| *step >= wanted * 0.999);
    let step = step.unwrap_or(wanted);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let largest = low.abs().max(high.abs());
    let (first, last) = ((low / step - 1e-6).ceil() as i64, (high / step + 1e-6).floor() as i64);
    let label = |value: f64| {
        if digits > 4 || largest >= 1e6 {
            let text =
                format!("{value:.*e}", ((largest / step).log10().ceil() as usize).saturating_sub(1).min(4));
            if value == 0.0 { "0".into() } else { text }
        } else {
            format!("{:.digits$}", if value == 0.0 { 0.0 } else { value })
        }
    };
    (first..=last).map(|i| i as f64 * step).map(|value| (value, Some(label(value)))).collect()
}

/// `0.01`, `1000`, `1e-7`.
fn name(value: f64, exponent: i32) -> String {
    let digits = (-exponent).max(0) as usize;
    if (-3..5).contains(&exponent) { format!("{value:.digits$}") } else { format!("{value:.0e}") }
}
