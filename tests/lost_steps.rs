//! Claim: once it is known that a device is lost, no step is recorded any more, also in a browser, where it becomes known
//! later.

mod common;

use common::run::{BINDABLE, Run, gradients};
use common::{Gpu, gpu_main, trial_of_its_own, turns};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, Options};

const LENS: [usize; 2] = [1000, 7];

fn no_step_after_a_loss(gpu: &Gpu, config: &AnyRule) {
    let tensors = LENS.map(|len| (len, 0));
    let mut run = Run::new(gpu, std::slice::from_ref(config), &tensors, BINDABLE, &Options::default());
    run.step(&gradients(12, 0, &LENS));
    gpu.device.destroy();
    let refused = (0..20_000).any(|_| {
        turns(100);
        run.optimizer.step(&mut gpu.encoder()).is_err()
    });
    assert!(refused, "no step is refused");
    let steps = run.optimizer.steps();
    for _ in 0..3 {
        let error = run.optimizer.step(&mut gpu.encoder()).unwrap_err();
        assert!(matches!(error, Error::DeviceLost { .. }), "another error: {error}");
        assert_eq!(run.optimizer.steps(), steps, "a step that was not taken does not count");
    }
}

pub fn main() {
    gpu_main("lost_steps", |adapter| {
        let one = |entry: &wgpu_optim::rules::Entry| {
            let config = (entry.default)();
            trial_of_its_own(adapter, format!("{}: no step after a loss", entry.name), move |gpu| {
                no_step_after_a_loss(gpu, &config)
            })
        };
        REGISTRY.iter().map(one).collect()
    });
}
