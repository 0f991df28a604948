//! Claim: on every adapter, every word that a step writes (parameters and every slot) is one that a
//! conforming WGSL implementation may return for the rule's equation, given the words before.

mod common;

use common::run::{BINDABLE, Home, TOGETHER, check};
use common::{gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{Lookahead, NonFinite, Options, Packing, Wrappers};

const STEPS: u64 = 10;

pub fn main() {
    gpu_main("gpu_matches_reference", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let around = |wrappers| {
                    let mut options = Options::default();
                    options.wrappers = wrappers;
                    options
                };
                let plain = Options::default();
                let wrapped = around(Wrappers {
                    lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
                    ema: Some(0.9),
                    max_grad_norm: Some(100.0),
                    max_tensor_norm: Some(50.0),
                    max_grad_value: Some(1.0),
                    ..Wrappers::default()
                });
                let cautious = around(Wrappers {
                    cautious: true,
                    grad_accumulation_steps: Some(3),
                    zero_grad: true,
                    non_finite: NonFinite::Skip,
                    max_tensor_norm: Some(10.0),
                    ..Wrappers::default()
                });
                for (name, home, options) in [
                    ("arena", BINDABLE, &plain),
                    ("tight arena, everything around it", Home::Arena(Packing::Tight), &wrapped),
                    ("own buffers", Home::Own { gap: 64 }, &plain),
                    ("arena, cautious", BINDABLE, &cautious),
                    ("own buffers, unaligned", Home::Own { gap: 3 }, &plain),
                    ("one buffer for both", TOGETHER, &plain),
                ] {
                    let (config, options) = (config.clone(), options.clone());
                    let name = format!("{} variant {i}, {name}", entry.name);
                    trials.push(trial(adapter, name.clone(), move |gpu| {
                        let worst = check(gpu, &config, home, &options, STEPS);
                        println!("worst {name} on {}: {:.3} of the interval", gpu.name, worst.units);
                        let json = config.rule().to_json();
                        assert!(
                            worst.units <= 1.0,
                            "{json}: {:.3} of the interval at {}",
                            worst.units,
                            worst.place
                        );
                        // A comparison that sees no rounding at all compares something with itself.
                        assert!(worst.units > 0.0, "{json}: no difference from the f64 truth anywhere");
                    }));
                }
            }
        }
        trials
    });
}
