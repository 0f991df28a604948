//! Claim: a run that PyTorch began goes on here, where PyTorch's own run went, to what `f32` allows. The states are those that
//! `scripts/torch_state.py` made of PyTorch's after 20 steps of recorded trajectories (`tests/torch/record.py`).

mod common;

#[path = "../examples/support/comparison.rs"]
mod comparison;
#[path = "../examples/support/trajectory.rs"]
mod trajectory;

use common::{Gpu, gpu_main, trial};
use comparison::on_gpu_from;
use std::path::{Path, PathBuf};
use trajectory::Trajectory;
use wgpu_optim::OptimizerState;
use wgpu_optim::rule::Config;

/// States that there must be.
const STATES: usize = 13;

fn states() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).collect();
    files.sort();
    assert_eq!(files.len(), STATES, "{files:?}");
    files
}

fn goes_on(gpu: &Gpu, path: &Path) {
    let state = OptimizerState::open(path).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap();
    let recorded =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.const.safetensors"));
    let trajectory = Trajectory::read(&recorded).unwrap();
    let setup = trajectory.setup().unwrap();
    assert_eq!((state.recorded(), state.taken()), (20, 20));
    let run = |state| on_gpu_from(&gpu.device, &gpu.queue, &trajectory, &setup, state).unwrap().0;
    let distance = run(Some(&state));
    assert!(distance.matches(), "{name}: {distance:?}");

    // Moments of another run are noticed, where there are any.
    let Some(slot) = setup
        .rule
        .rule()
        .spec()
        .slots
        .iter()
        .map(|slot| format!("{}/w", slot.name))
        .find(|slot| state.get(slot).is_some())
    else {
        return;
    };
    let mut words: std::collections::BTreeMap<String, Vec<u32>> =
        state.words().map(|(name, words)| (name.to_string(), words.to_vec())).collect();
    words
        .get_mut(&slot)
        .unwrap()
        .iter_mut()
        .for_each(|word| *word = (f32::from_bits(*word) * 1.01).to_bits());
    let other = OptimizerState::from_parts(&state.about(), words).unwrap();
    assert!(!run(Some(&other)).matches(), "{name}: {slot} does not matter");
}

fn main() {
    gpu_main("torch_states", |adapter| {
        let trials = states().into_iter().map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().to_string();
            trial(adapter, format!("{name} goes on from PyTorch's state"), move |gpu| goes_on(gpu, &path))
        });
        trials.collect()
    });
}
