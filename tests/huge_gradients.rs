//! Claim: one finite gradient of 1e20, whose square f32 does not hold, does to each rule what the README's table says (the
//! device and the reference agree on it), and clipping by value or by norm is a way out for every rule: everything
//! stays finite, the parameter goes on, and every word is one that WGSL allows.

mod common;

use common::run::{BINDABLE, Run, Worst, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Options, Wrappers};

const LENS: [usize; 2] = [40, 7];

/// Steps with one huge gradient in the third: the worst error, and whether all words stayed finite.
fn steps(gpu: &Gpu, config: &AnyRule, wrappers: Wrappers) -> (Worst, bool, bool) {
    let mut options = Options::default();
    options.wrappers = wrappers;
    let tensors = LENS.map(|len| (len, 0));
    let mut run = Run::new(gpu, std::slice::from_ref(config), &tensors, BINDABLE, &options);
    run.overflows = wrappers == Wrappers::default();
    run.write_theta(&parameters(1, &LENS));
    let (mut words, mut worst, mut moved) = (run.read(), Worst::default(), false);
    for step in 0..12 {
        let mut g = gradients(2, step, &LENS);
        g.iter_mut().flatten().for_each(|g| *g = g.signum().max(0.5));
        if step == 2 {
            g[0][3] = 1e20;
        }
        let (after, error) = run.checked_step(&words, &g);
        worst.merge(error);
        moved = after.theta[0][3] != words.theta[0][3];
        words = after;
    }
    let finite = |x: &f32| x.is_finite();
    let all = words.theta.iter().chain(words.slots.iter().flatten()).flatten().all(finite);
    (worst, all && words.device.iter().all(finite), moved)
}

fn the_reference_agrees(gpu: &Gpu, config: &AnyRule) {
    let (worst, ..) = steps(gpu, config, Wrappers::default());
    assert!(worst.units <= 1.0, "{worst:?}");
}

fn clipping_is_a_way_out(gpu: &Gpu, config: &AnyRule) {
    for wrappers in [
        Wrappers { max_grad_value: Some(2.0), ..Wrappers::default() },
        Wrappers { max_grad_norm: Some(2.0), ..Wrappers::default() },
    ] {
        let (worst, finite, moved) = steps(gpu, config, wrappers);
        assert!(worst.units <= 1.0, "{worst:?}");
        assert!(finite, "{}: something is not finite, with {wrappers:?}", config.rule().to_json());
        assert!(moved, "{}: the parameter stands still, with {wrappers:?}", config.rule().to_json());
    }
}

/// What holds of a configuration on a device.
type Claim = fn(&Gpu, &AnyRule);

fn main() {
    gpu_main("huge_gradients", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let claims: [(&str, Claim); 2] = [
                    ("the reference agrees", the_reference_agrees),
                    ("clipping is a way out", clipping_is_a_way_out),
                ];
                for (claim, check) in claims {
                    let config = config.clone();
                    let name = format!("{} variant {i}: {claim}", entry.name);
                    trials.push(trial(adapter, name, move |gpu| check(gpu, &config)));
                }
            }
        }
        trials
    });
}
