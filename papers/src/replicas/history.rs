//! What a training of replicas left behind.

use super::{BATCH, Task};
use crate::charts::Series;
use crate::harness::stats::{deviation, mean, standard_error};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Loss of one who gives each of the ten digits the same probability, in nats.
const GUESSING: f64 = std::f64::consts::LN_10;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 400;

/// Losses and accuracies, from sums over a record: (losses, right answers) of \[record, replica\].
#[derive(Debug)]
pub struct History {
    pub task: Task,
    pub train: Vec<[f32; 2]>,
    pub test: Vec<[f32; 2]>,
    /// Samples of a test.
    pub held_out: usize,
    pub replicas: usize,
    /// The steps after which there were tests.
    pub tested: Vec<usize>,
}

impl History {
    fn seeds(&self, sums: &[[f32; 2]], record: usize, setting: usize) -> Vec<[f32; 2]> {
        let from = record * self.replicas + setting * self.task.seeds;
        sums[from..from + self.task.seeds].to_vec()
    }

    /// Steps of a training record; the last may have fewer.
    fn steps(&self, record: usize) -> usize {
        self.task.every.min(self.task.steps - record * self.task.every)
    }

    /// Mean loss of the batches of a training record, in nats, for each seed.
    pub fn train_loss(&self, setting: usize, record: usize) -> Vec<f64> {
        let samples = (BATCH * self.steps(record)) as f64;
        self.seeds(&self.train, record, setting).iter().map(|sums| f64::from(sums[0]) / samples).collect()
    }

    /// Share of right answers in the batches of a training record, in %, for each seed.
    pub fn train_accuracy(&self, setting: usize, record: usize) -> Vec<f64> {
        let samples = (BATCH * self.steps(record)) as f64;
        self.seeds(&self.train, record, setting)
            .iter()
            .map(|sums| 100.0 * f64::from(sums[1]) / samples)
            .collect()
    }

    /// Share of right answers in test number `test`, in %, for each seed.
    pub fn test_accuracy(&self, setting: usize, test: usize) -> Vec<f64> {
        let samples = self.held_out as f64;
        self.seeds(&self.test, test, setting)
            .iter()
            .map(|sums| 100.0 * f64::from(sums[1]) / samples)
            .collect()
    }

    /// That of the last test.
    pub fn final_accuracy(&self, setting: usize) -> Vec<f64> {
        self.test_accuracy(setting, self.tested.len() - 1)
    }

    /// The loss of the last training record; at most that of guessing, also where it is not finite.
    pub fn final_loss(&self, setting: usize) -> Vec<f64> {
        let losses = self.train_loss(setting, self.task.records() - 1);
        losses.into_iter().map(|loss| if loss < GUESSING { loss } else { GUESSING }).collect()
    }

    /// The middle step of a training record.
    pub fn middle(&self, record: usize) -> f64 {
        (record * self.task.every) as f64 + self.steps(record) as f64 / 2.0
    }

    /// The test accuracy over x, mean and a band of one standard error; `x` turns steps into it.
    pub fn test_curve(&self, label: impl Into<String>, setting: usize, x: impl Fn(f64) -> f64) -> Series {
        let point = |(number, step): (usize, &usize)| (x(*step as f64), self.test_accuracy(setting, number));
        curve(label, self.tested.iter().enumerate().map(point))
    }

    /// The training accuracy over x, as [`test_curve`](History::test_curve).
    pub fn train_curve(&self, label: impl Into<String>, setting: usize, x: impl Fn(f64) -> f64) -> Series {
        let point = |record| (x(self.middle(record)), self.train_accuracy(setting, record));
        curve(label, (0..self.task.records()).map(point))
    }
}

/// A line through means, with a band of one standard error.
pub fn curve(label: impl Into<String>, values: impl Iterator<Item = (f64, Vec<f64>)>) -> Series {
    let (mut points, mut band) = (vec![], vec![]);
    for (x, values) in values {
        let (middle, error) = (mean(&values), standard_error(&values));
        points.push((x, middle));
        band.push((middle - error, middle + error));
    }
    Series::line(label, points).band(band)
}

/// A difference of two methods on the same seeds, a - b: mean and standard error.
pub fn paired(a: &[f64], b: &[f64]) -> (f64, f64) {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    (mean(&differences), standard_error(&differences))
}

/// What `statistic` says of all seeds, and its standard error: the deviation over resamples of the seeds,
/// with replacement. It is given the numbers of the seeds to take.
pub fn bootstrap(seeds: usize, statistic: impl Fn(&[usize]) -> f64) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let all: Vec<usize> = (0..seeds).collect();
    let draw = |_| statistic(&all.iter().map(|_| rng.random_range(0..seeds)).collect::<Vec<_>>());
    let values: Vec<f64> = (0..RESAMPLES).map(draw).collect();
    (statistic(&all), deviation(&values))
}

/// The mean over some of the seeds.
pub fn mean_of(values: &[f64], seeds: &[usize]) -> f64 {
    seeds.iter().map(|seed| values[*seed]).sum::<f64>() / seeds.len() as f64
}

/// Where y, linear between its points, stays within `tolerance` of its largest value, around that.
pub fn window(x: &[f64], y: &[f64], tolerance: f64) -> (f64, f64) {
    let best = (0..y.len()).max_by(|a, b| y[*a].total_cmp(&y[*b])).unwrap_or(0);
    let floor = y[best] - tolerance;
    // From the best to the first point below the floor, and back to the crossing.
    let edge = |order: &mut dyn Iterator<Item = usize>| {
        let mut inside = best;
        for i in order {
            if y[i] < floor {
                return x[inside] + (x[i] - x[inside]) * (y[inside] - floor) / (y[inside] - y[i]);
            }
            inside = i;
        }
        x[inside]
    };
    (edge(&mut (0..best).rev()), edge(&mut (best + 1..y.len())))
}
