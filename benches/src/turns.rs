//! Times on machines that are shared and noisy: everything that is compared runs in turns.

use crate::device::Device;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Something that is measured: it records one step of its work.
pub trait Candidate {
    /// Records one step.
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()>;

    /// Steps that may be recorded before a submit.
    fn most(&self) -> usize {
        64
    }
}

/// Seconds of one step, a value for each round; candidates of one measurement share their rounds.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// GPU time by timestamps around many steps; empty without timestamps.
    pub gpu: Vec<f64>,
    /// Wall time of one step that is recorded, submitted and waited for.
    pub wall: Vec<f64>,
    /// Time of the host to record one step.
    pub host: Vec<f64>,
    /// Clock ticks between the timestamps.
    pub ticks: u64,
}

impl Times {
    /// GPU time where there is one, else wall time: what ratios are taken of.
    pub fn best(&self) -> &[f64] {
        if self.gpu.is_empty() { &self.wall } else { &self.gpu }
    }

    /// Fewer clock ticks say more of the clock than of what it measures.
    pub fn is_ranked(&self) -> bool {
        self.gpu.is_empty() || self.ticks >= 20
    }
}

/// A median between its quartiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Quartiles {
    /// None of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share).round() as usize);
        Some(Self { lower: *at(0.25)?, median: *at(0.5)?, upper: *at(0.75)? })
    }

    /// Of the quotients, round by round.
    pub fn of_ratio(above: &[f64], below: &[f64]) -> Option<Self> {
        Self::of(&above.iter().zip(below).map(|(a, b)| a / b).collect::<Vec<_>>())
    }
}

/// How long a measurement may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Seconds for all candidates and rounds.
    pub seconds: f64,
    /// Seconds of steps between two timestamps.
    pub between: f64,
}

const FEWEST: usize = 5;
const MOST: usize = 21;

/// Measures candidates in turns, after a warm-up that also says how many steps and rounds the budget allows.
pub fn in_turns(
    device: &Device,
    candidates: &mut [&mut dyn Candidate],
    budget: Budget,
) -> Result<Vec<Times>> {
    let mut steps = vec![];
    let mut round = 0.0;
    for candidate in candidates.iter_mut() {
        run(device, *candidate, 1)?;
        let first = Instant::now();
        run(device, *candidate, 1)?;
        let once = first.elapsed().as_secs_f64();
        let most = candidate.most().clamp(1, 256);
        let tried = most.min(8);
        let start = Instant::now();
        let measured = run(device, *candidate, tried)?;
        let many = start.elapsed().as_secs_f64();
        let each = measured.map_or(once, |(seconds, _)| seconds / tried as f64).max(1e-7);
        let count = ((budget.between / each) as usize).clamp(1, most);
        steps.push(count);
        round += once + many * count as f64 / tried as f64;
    }
    let rounds = ((budget.seconds / round) as usize).clamp(FEWEST, MOST);
    let mut times = vec![Times { ticks: u64::MAX, ..Times::default() }; candidates.len()];
    for _ in 0..rounds {
        for ((candidate, times), steps) in candidates.iter_mut().zip(&mut times).zip(&steps) {
            if let Some((seconds, ticks)) = run(device, *candidate, *steps)? {
                times.gpu.push(seconds / *steps as f64);
                times.ticks = times.ticks.min(ticks);
            }
            let start = Instant::now();
            let mut encoder = device.encoder();
            let recording = Instant::now();
            candidate.record(&mut encoder)?;
            times.host.push(recording.elapsed().as_secs_f64());
            device.submit(encoder)?;
            times.wall.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

/// Runs `steps` in one submission; seconds and ticks of the GPU for all of them.
fn run(device: &Device, candidate: &mut dyn Candidate, steps: usize) -> Result<Option<(f64, u64)>> {
    device.timed(|encoder| (0..steps).try_for_each(|_| candidate.record(encoder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_and_of_none() {
        assert_eq!(Quartiles::of(&[]), None);
        let quartiles = |lower, median, upper| Some(Quartiles { lower, median, upper });
        assert_eq!(Quartiles::of(&[3.0]), quartiles(3.0, 3.0, 3.0));
        assert_eq!(Quartiles::of(&[5.0, 1.0, 4.0, 2.0, 3.0]), quartiles(2.0, 3.0, 4.0));
        assert_eq!(Quartiles::of_ratio(&[2.0, 9.0, 4.0], &[1.0, 3.0, 4.0]), quartiles(2.0, 2.0, 3.0));
    }

    #[test]
    fn what_the_clock_does_not_resolve_is_not_ranked() {
        let times = |gpu: &[f64], ticks| Times { gpu: gpu.to_vec(), ticks, ..Times::default() };
        assert!(!times(&[1e-9], 19).is_ranked());
        assert!(times(&[1e-9], 20).is_ranked());
        // Wall time has a clock of its own.
        assert!(times(&[], 0).is_ranked());
    }
}
