//! Claim: fed the gradients that other implementations were fed, the rules go where those went, step by step:
//! the `f64` reference to 1e-9 of the largest displacement, every adapter to what `f32` allows. Recordings
//! whose rule or option is not there yet are reported as ignored.

mod common;

#[path = "../examples/support/comparison.rs"]
mod comparison;
#[path = "../examples/support/trajectory.rs"]
mod trajectory;

use common::{adapters, describe, finish, trial, with_device};
use comparison::{Distance, on_gpu, on_reference};
use libtest_mimic::{Arguments, Failed, Trial};
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;
use trajectory::{NoRule, Recorded, Trajectory};
use wgpu_optim::Wrappers;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::{REGISTRY, Setup};

/// Recordings that there must be.
const RECORDINGS: usize = 147;

/// A recording and its rule, or why it has none.
struct Recording {
    id: String,
    trajectory: Trajectory,
    rule: Result<Setup, NoRule>,
}

impl Recording {
    fn rule(&self) -> Result<&Setup, Failed> {
        self.rule.as_ref().map_err(|reason| Failed::from(format!("unsupported: {reason}")))
    }

    /// A trial that is reported as ignored, and fails if it is run all the same, without a rule.
    fn trial(self: &Arc<Self>, on: &str, run: impl FnOnce(&Self, &Setup) + Send + 'static) -> Trial {
        let recording = Arc::clone(self);
        let ignored = matches!(self.rule, Err(NoRule::Unsupported(_)));
        let test = move || {
            run(&recording, recording.rule()?);
            Ok(())
        };
        Trial::test(format!("{} on {on}", self.id), test).with_ignored_flag(ignored)
    }
}

pub fn main() {
    let arguments = Arguments::from_args();
    let recordings = recordings();
    let all: Vec<_> = recordings.iter().map(Arc::clone).collect();
    let mut trials = vec![Trial::test("every rule has its recordings", move || {
        every_rule_has_its_recordings(&all);
        Ok(())
    })];
    let all: Vec<_> = recordings.iter().map(Arc::clone).collect();
    trials.push(Trial::test("a flipped gradient is noticed on the f64 reference", move || {
        flipped_gradients_are_noticed(&all, |trajectory, rule| on_reference(trajectory, rule).unwrap());
        Ok(())
    }));
    for recording in &recordings {
        trials.push(recording.trial("the f64 reference", |recording, rule| {
            assert_matches(&on_reference(&recording.trajectory, rule).unwrap());
        }));
    }

    let adapters = adapters();
    for adapter in &adapters {
        let all: Vec<_> = recordings.iter().map(Arc::clone).collect();
        trials.push(trial(adapter, "a flipped gradient is noticed", move |gpu| {
            flipped_gradients_are_noticed(&all, |trajectory, rule| {
                on_gpu(&gpu.device, &gpu.queue, trajectory, rule).unwrap().0
            })
        }));
        for recording in &recordings {
            let (on, adapter) = (describe(adapter), adapter.clone());
            trials.push(recording.trial(&on, move |recording, rule| {
                let mut replayed = None;
                with_device(&adapter, |gpu| {
                    replayed = Some(on_gpu(&gpu.device, &gpu.queue, &recording.trajectory, rule).unwrap());
                });
                let (distance, dispatches) = replayed.unwrap();
                assert_matches(&distance);
                assert!(distance.share > 0.0, "an f32 run that agrees in every bit was not compared");
                let Wrappers { max_grad_norm, cautious, .. } = rule.wrappers;
                let around = [max_grad_norm.is_some(), cautious].into_iter().filter(|around| *around).count();
                // Rows and columns of matrices take three more.
                let matrices = recording.trajectory.tensors.iter().any(|tensor| tensor.shape.len() > 1);
                let factored = usize::from(rule.rule.rule().spec().is_factored() && matrices);
                let expected = common::dispatches(rule.rule.rule()) + 2 * around + 3 * factored;
                assert_eq!(dispatches, expected, "dispatches a step for all tensors");
            }));
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
        let missing = || Err(Failed::from("no adapter: run `make setup`, or see README.md"));
        trials.push(Trial::test("golden (no adapter)", missing).with_ignored_flag(!required));
    }
    finish(&libtest_mimic::run(&arguments, trials));
}

/// A page has no files; these are built in.
#[cfg(target_arch = "wasm32")]
fn files() -> Vec<(String, Vec<u8>)> {
    include!(concat!(env!("OUT_DIR"), "/recordings.rs"))
}

#[cfg(not(target_arch = "wasm32"))]
fn files() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "no recordings in {}", directory.display());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

fn recordings() -> Vec<Arc<Recording>> {
    let load = |(id, bytes): (String, Vec<u8>)| {
        let trajectory = Trajectory::parse(&id, &bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(id, format!("{}.{}", trajectory.name, trajectory.case), "a file is named NAME.CASE");
        Arc::new(Recording { id, rule: trajectory.setup(), trajectory })
    };
    files().into_iter().map(load).collect()
}

fn every_rule_has_its_recordings(recordings: &[Arc<Recording>]) {
    assert_eq!(recordings.len(), RECORDINGS);
    for recording in recordings {
        assert!(recording.rule.is_ok(), "{}: {:?}", recording.id, recording.rule.as_ref().err());
    }
    for entry in REGISTRY {
        let recorded = recordings.iter().any(|recording| recording.trajectory.optimizer == entry.name);
        assert!(recorded, "{} has no recording", entry.name);
    }
}

/// With the sign of the second step's largest gradient lost, no run may still match. (AdaShift only ever
/// squares the first step's.)
fn flipped_gradients_are_noticed(
    recordings: &[Arc<Recording>],
    replay: impl Fn(&Trajectory, &Setup) -> Distance,
) {
    for recording in recordings {
        let Ok(rule) = &recording.rule else { continue };
        let mut trajectory = recording.trajectory.clone();
        let gradients = trajectory.tensors.iter_mut().flat_map(|tensor| {
            let Recorded { init, grads, .. } = tensor;
            &mut grads[init.len()..2 * init.len()]
        });
        let largest = gradients.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        *largest = -*largest;
        let distance = replay(&trajectory, rule);
        assert!(!distance.matches(), "{}: {:.3} of the bound", recording.id, distance.share);
    }
}

fn assert_matches(distance: &Distance) {
    assert!(distance.matches(), "{:.3} of the bound at {}", distance.share, distance.place);
}
