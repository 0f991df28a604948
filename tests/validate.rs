//! Claim: `validate` finds nothing on adapters that conform, and on one whose rule is wrong the first wrong word, with its
//! step, place, value and what is allowed.

mod common;

use common::{Gpu, gpu_main, trial};
use wgpu_optim::AnyRule;
use wgpu_optim::program::Shape;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::{Entry, REGISTRY};
use wgpu_optim::validate::{Case, Poison, cases, check_blocking, probe_blocking};

/// The first variant of a rule; `gpu_matches_reference` has the others.
fn nothing_is_wrong(gpu: &Gpu, entry: &Entry) {
    let first = (entry.variants)()[0].rule().to_json();
    for case in cases().filter(|case| case.rule.rule().to_json() == first) {
        let verdict = check_blocking(&gpu.device, &gpu.queue, &case).unwrap();
        assert_eq!(verdict.violation, None, "{:?}", case.rule.rule().to_json());
        assert!(verdict.words > 10_000 && verdict.worst > 0.0, "{verdict:?}");
    }
}

/// In wide workgroups too, which a CPU does not take by itself.
fn wide(gpu: &Gpu) {
    let mut case = Case::new(AnyRule::named("adamw").unwrap());
    case.shape = Some(Shape::Wide(128));
    let verdict = check_blocking(&gpu.device, &gpu.queue, &case).unwrap();
    assert_eq!(verdict.violation, None);
}

fn poison_is_there(gpu: &Gpu) {
    // Where a NaN stands there is less to compare.
    let words = |poison| {
        let mut case = Case::new(AnyRule::named("sgd").unwrap());
        case.poison = poison;
        check_blocking(&gpu.device, &gpu.queue, &case).unwrap().words
    };
    assert!(words(Poison::Nan) < words(Poison::None));
    assert_eq!(words(Poison::Subnormal), words(Poison::None));
}

fn probes(gpu: &Gpu) {
    let probe = probe_blocking(&gpu.device, &gpu.queue).unwrap();
    assert!(probe.conforms(), "{probe:?}");
    let json = serde_json::to_value(&probe).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 9);
}

/// The first wrong word: Adam whose step is 2 % too long.
fn a_wrong_rule_is_found(gpu: &Gpu) {
    let rule = AnyRule::named("adam").unwrap();
    let spec = rule.rule().spec();
    let mutant = spec.mutants.iter().find(|mutant| mutant.name == "step x 1.02").unwrap();
    let mut case = Case::new(rule);
    case.wgsl = Some(spec.wgsl.replace(mutant.find, mutant.replace));
    let verdict = check_blocking(&gpu.device, &gpu.queue, &case).unwrap();
    let violation = verdict.violation.unwrap();
    assert_eq!((violation.step, &violation.slot[..]), (1, "theta"));
    assert!(violation.expected.contains("in truth"), "{violation:?}");
    assert!(violation.got.parse::<f32>().unwrap().is_finite() && verdict.worst > 1.0);
}

fn main() {
    gpu_main("validate", |adapter| {
        let mut trials = vec![
            trial(adapter, "wide workgroups", wide),
            trial(adapter, "poison is there", poison_is_there),
            trial(adapter, "probes", probes),
            trial(adapter, "a wrong rule is found", a_wrong_rule_is_found),
        ];
        for entry in REGISTRY {
            trials.push(trial(adapter, format!("{}: nothing is wrong", entry.name), |gpu| {
                nothing_is_wrong(gpu, entry);
            }));
        }
        trials
    });
}
