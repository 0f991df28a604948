//! Claim: the comparison of `gpu_matches_reference` rejects wrong shaders. Every mutant that a rule
//! lists is run on the GPU in the place of the rule and must leave the interval in some variant.

mod common;

use common::run::{BINDABLE, check};
use common::{gpu_main, trial};
use wgpu_optim::Options;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;

const STEPS: u64 = 8;

fn main() {
    gpu_main("negative_controls", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            let mutants = (entry.default)().rule().spec().mutants;
            assert!(mutants.len() >= 5, "{}: only {} mutants", entry.name, mutants.len());
            for mutant in mutants {
                trials.push(trial(adapter, format!("{}: {}", entry.name, mutant.name), move |gpu| {
                    let rejected = (entry.variants)().into_iter().any(|config| {
                        let wgsl = config.rule().spec().wgsl;
                        assert_eq!(wgsl.matches(mutant.find).count(), 1, "'{}' stands once", mutant.find);
                        let mut options = Options::default();
                        options.wgsl = Some(wgsl.replacen(mutant.find, mutant.replace, 1));
                        check(gpu, &config, BINDABLE, &options, STEPS).units > 1.0
                    });
                    assert!(rejected, "{}: mutant '{}' was not noticed", entry.name, mutant.name);
                }));
            }
        }
        trials
    });
}
