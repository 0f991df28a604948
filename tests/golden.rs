//! Claim: fed the gradients that other implementations were fed, the rules go where those went, step by step:
//! the `f64` reference to 1e-9 of the largest displacement, every adapter to what `f32` allows. Recordings
//! whose rule or option is not there yet are reported as ignored.

mod common;

#[path = "../examples/support/comparison.rs"]
mod comparison;
#[path = "../examples/support/trajectory.rs"]
mod trajectory;

use common::{adapters, describe, trial};
use comparison::{Distance, on_gpu, on_reference};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::sync::Arc;
use trajectory::{NoRule, Recorded, Trajectory};
use wgpu_optim::{AnyRule, REGISTRY};

/// Recordings that must be there and must be supported.
const REQUIRED: &[&str] = &[
    "adam.const",
    "adam.sched",
    "adam.sparse",
    "adam.tiny",
    "adam_l2.const",
    "adam_l2.sched",
    "adamw.const",
    "adamw.sched",
    "adamw.sparse",
    "adamw.tiny",
    "amsgrad_corrected.const",
    "amsgrad_corrected.sched",
    "amsgrad_paper.const",
    "amsgrad_paper.sched",
    "amsgrad_raw.const",
    "amsgrad_raw.sched",
    "madam.const",
    "madam.sched",
    "madam_amsgrad.const",
    "madam_amsgrad.sched",
    "madam_decoupled.const",
    "madam_decoupled.sched",
    "madam_l2.const",
    "madam_l2.sched",
    "madam_nesterov.const",
    "madam_nesterov.sched",
    "sgd.const",
    "sgd.sched",
    "sgd_dampening.const",
    "sgd_dampening.sched",
    "sgd_momentum_l2.const",
    "sgd_momentum_l2.sched",
    "sgd_nesterov.const",
    "sgd_nesterov.sched",
];

/// Options of the optimizer around the rule, which a registered rule's recording may be waiting for.
const AROUND: [&str; 2] = ["max_grad_norm", "lookahead"];

/// A recording and its rule, or why it has none.
struct Recording {
    id: String,
    trajectory: Trajectory,
    rule: Result<AnyRule, NoRule>,
}

impl Recording {
    fn rule(&self) -> Result<&AnyRule, Failed> {
        self.rule.as_ref().map_err(|reason| Failed::from(format!("unsupported: {reason}")))
    }

    /// A trial that is reported as ignored, and fails if it is run all the same, without a rule.
    fn trial(self: &Arc<Self>, on: &str, run: impl FnOnce(&Self, &AnyRule) + Send + 'static) -> Trial {
        let recording = Arc::clone(self);
        let ignored = matches!(self.rule, Err(NoRule::Unsupported(_)));
        let test = move || {
            run(&recording, recording.rule()?);
            Ok(())
        };
        Trial::test(format!("{} on {on}", self.id), test).with_ignored_flag(ignored)
    }
}

fn main() {
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
                let gpu = common::Gpu::open(&adapter);
                let (distance, dispatches) =
                    on_gpu(&gpu.device, &gpu.queue, &recording.trajectory, rule).unwrap();
                assert_matches(&distance);
                assert!(distance.share > 0.0, "an f32 run that agrees in every bit was not compared");
                assert_eq!(dispatches, 1, "one dispatch a step for all tensors");
            }));
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
        let missing = || Err(Failed::from("no adapter: run `make setup`, or see README.md"));
        trials.push(Trial::test("golden (no adapter)", missing).with_ignored_flag(!required));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn recordings() -> Vec<Arc<Recording>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "no recordings in {}", directory.display());
    let load = |path: &Path| {
        let trajectory = Trajectory::read(path).unwrap_or_else(|error| panic!("{error}"));
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(id, format!("{}.{}", trajectory.name, trajectory.case), "a file is named NAME.CASE");
        Arc::new(Recording { id, rule: trajectory.rule(), trajectory })
    };
    paths.iter().map(|path| load(path)).collect()
}

fn every_rule_has_its_recordings(recordings: &[Arc<Recording>]) {
    for required in REQUIRED {
        let found = recordings.iter().find(|recording| recording.id == *required);
        let recording = found.unwrap_or_else(|| panic!("{required}.safetensors is missing"));
        assert!(recording.rule.is_ok(), "{required}: {}", recording.rule.as_ref().unwrap_err());
    }
    for entry in REGISTRY {
        let mine: Vec<_> =
            recordings.iter().filter(|recording| recording.trajectory.optimizer == entry.name).collect();
        assert!(mine.iter().any(|recording| recording.rule.is_ok()), "{} has no recording", entry.name);
        for recording in mine {
            let waits = AROUND.iter().any(|option| recording.trajectory.options.contains_key(*option));
            let id = &recording.id;
            assert!(recording.rule.is_ok() || waits, "{id}: {}", recording.rule.as_ref().unwrap_err());
        }
    }
}

/// With the sign of the first step's largest gradient lost, no run may still match.
fn flipped_gradients_are_noticed(
    recordings: &[Arc<Recording>],
    replay: impl Fn(&Trajectory, &AnyRule) -> Distance,
) {
    for recording in recordings {
        let Ok(rule) = &recording.rule else { continue };
        let mut trajectory = recording.trajectory.clone();
        let gradients = trajectory.tensors.iter_mut().flat_map(|tensor| {
            let Recorded { init, grads, .. } = tensor;
            &mut grads[..init.len()]
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
