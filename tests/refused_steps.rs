//! Claim: a step that is refused because a group's configuration was changed for the worse records
//! nothing and counts for nothing; once that is put right, the run goes on with the same bits.

mod common;

use common::run::{BINDABLE, Run, Words, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, Options};

const LENS: [usize; 3] = [700, 5, 1301];
const STEPS: u64 = 6;

fn main() {
    gpu_main("refused_steps", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let name = format!("{} variant {i}: a refused step loses nothing", entry.name);
                trials.push(trial(adapter, name, move |gpu| {
                    let undisturbed = steps(gpu, &config, |_| {});
                    for changed in [0, 1] {
                        let disturbed = steps(gpu, &config, |run| every_refusal(run, &config, changed));
                        assert_eq!(undisturbed.bits(), disturbed.bits(), "group {changed} was changed");
                    }
                }));
            }
        }
        trials
    });
}

/// A run of two groups that is disturbed between its third and its fourth step.
fn steps(gpu: &Gpu, config: &AnyRule, disturb: impl Fn(&mut Run)) -> Words {
    let configs = [config.clone(), config.clone()];
    let tensors = [(LENS[0], 0), (LENS[1], 1), (LENS[2], 1)];
    let mut run = Run::new(gpu, &configs, &tensors, BINDABLE, &Options::default());
    run.write_theta(&parameters(5, &LENS));
    for step in 0..STEPS {
        run.write_gradients(&gradients(6, step, &LENS));
        if step == 3 {
            disturb(&mut run);
        }
        let mut encoder = gpu.encoder();
        run.optimizer.step(&mut encoder).unwrap();
        gpu.submit(encoder);
    }
    run.read()
}

/// Changes a group, sees two steps refused with an error, and changes it back.
fn refused(run: &mut Run, changed: usize, wrong: AnyRule, check: impl Fn(Error)) {
    let group = run.params.group_of(run.tensors[changed]).unwrap();
    let before = (run.optimizer.steps(), run.optimizer.group(group).unwrap().clone());
    *run.optimizer.group_mut(group).unwrap() = wrong;
    let mut encoder = run.gpu.encoder();
    check(run.optimizer.step(&mut encoder).unwrap_err());
    check(run.optimizer.prepare(&mut encoder).unwrap_err());
    run.gpu.submit(encoder);
    assert_eq!(run.optimizer.steps(), before.0);
    *run.optimizer.group_mut(group).unwrap() = before.1;
}

fn every_refusal(run: &mut Run, config: &AnyRule, changed: usize) {
    let label = format!("'group {changed}'");
    let mut numbers = vec![];
    config.clone().rule_mut().numbers(&mut |field, _, limit| numbers.push((field, limit)));
    for (field, limit) in numbers {
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e9];
        for value in values.into_iter().filter(|value| !limit.allows(*value)) {
            let mut wrong = config.clone();
            wrong.rule_mut().numbers(&mut |name, number, _| {
                if name == field {
                    *number = value;
                }
            });
            refused(run, changed, wrong, |error| {
                let message = error.to_string();
                for part in [&*label, field, &value.to_string(), &limit.to_string()] {
                    assert!(message.contains(part), "'{message}' does not mention '{part}'");
                }
                assert!(matches!(error, Error::Config { .. }));
            });
        }
    }

    for entry in REGISTRY {
        for other in (entry.variants)() {
            if entry.name != config.name() {
                refused(run, changed, other, |error| {
                    assert!(matches!(error, Error::MixedRules { .. }), "{error}")
                });
                continue;
            }
            // Another variant of the rule may need a slot that does not exist.
            let (kept, slots) = (run.optimizer.slots(), other.rule().spec().slots);
            let mut needs = vec![0; slots.len()];
            other.rule().depths(&mut needs);
            let mut missing = slots.iter().map(|slot| slot.name).zip(needs).filter(|(_, needed)| *needed > 0);
            if let Some((slot, _)) = missing.find(|(slot, _)| !kept.contains(slot)) {
                refused(run, changed, other, |error| {
                    assert!(matches!(error, Error::MissingSlot { .. }), "{error}");
                    assert!(error.to_string().contains(&label) && error.to_string().contains(slot));
                });
            } else if other.rule().device_scalars() != config.rule().device_scalars() {
                refused(run, changed, other, |error| {
                    assert!(matches!(error, Error::Config { .. }), "{error}");
                    assert!(error.to_string().contains("as in the first group"), "{error}");
                });
            }
        }
    }
}
