//! Claim: Schedule-Free AdamW's switch between the weights that it trains and those to evaluate is, on every
//! adapter, the conversion that its documentation says, and touches nothing else.

mod common;

use common::run::{BINDABLE, Run, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::reference::{Words, expect_step, host_scalars};
use wgpu_optim::rule::{Config, HostState};
use wgpu_optim::rules::ScheduleFreeAdamW;
use wgpu_optim::{AnyRule, Options, Wrappers};

/// Every word of every step inside the interval, through several switches; while evaluating nothing moves, and
/// no conversion moves a slot.
fn switches(gpu: &Gpu) {
    let rule = |evaluate| {
        AnyRule::new(ScheduleFreeAdamW { warmup_steps: 3, weight_decay: 0.1, evaluate, ..Default::default() })
    };
    let lens = [1027];
    let mut run = Run::new(gpu, &[rule(false)], &[(lens[0], 0)], BINDABLE, &Options::default());
    let group = run.params.group_of(run.tensors[0]).unwrap();
    run.write_theta(&parameters(1, &lens));
    let (mut before, mut host, mut was) = (run.read(), HostState::default(), false);
    let (mut trained, mut switched) = (0, 0);
    for (step, evaluate) in (1..).zip([0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0].map(|flag| flag == 1)) {
        let config = rule(evaluate);
        *run.optimizer.group_mut(group).unwrap() = config.clone();
        let g = gradients(3, step, &lens);
        run.step(&g);
        let (after, rule) = (run.read(), config.rule());
        // Only steps that train count.
        let (t, mut conversion) = (trained + 1, host);
        let scalars = host_scalars(rule, t, if was || evaluate { &mut conversion } else { &mut host });
        let (theta, slots) = (&before.theta[0], &before.slots[0]);
        let words = Words { rule, t, scalars: &scalars, shape: &[], theta, g: &g[0], evaluates: was, slots };
        let expected = expect_step(&Wrappers::default(), None, &[words]).0.remove(0);
        let inside = |words: &[f32], expected: &[(f64, wgpu_optim::arithmetic::Interval)]| {
            words.iter().zip(expected).all(|(word, (_, allowed))| allowed.contains(f64::from(*word)))
        };
        assert!(inside(&after.theta[0], &expected.theta), "step {step}: theta");
        for (slot, expected) in after.slots[0].iter().zip(&expected.slots) {
            assert!(slot.is_empty() || inside(slot, expected), "step {step}: a slot");
        }
        let moved = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        let theta = moved(&after.theta[0], &before.theta[0]);
        let slots: usize = after.slots[0].iter().zip(&before.slots[0]).map(|(a, b)| moved(a, b)).sum();
        match (was, evaluate) {
            (true, true) => assert_eq!((theta, slots), (0, 0), "step {step}: evaluating on"),
            (false, false) => {
                assert!(theta > 900 && slots > 900, "step {step}: training");
                trained += 1;
            }
            _ => {
                assert_eq!(slots, 0, "step {step}: a conversion leaves the slots");
                assert!(theta > 500, "step {step}: a conversion moves only {theta} of 1027");
                switched += 1;
            }
        }
        (before, was) = (after, evaluate);
    }
    assert_eq!((trained, switched), (7, 6));
}

pub fn main() {
    gpu_main("evaluation_weights", |adapter| vec![trial(adapter, "training and evaluation", switches)]);
}
