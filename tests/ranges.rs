//! Claim: a number is checked as it will be used: in f32, and through every host scalar that follows from it. Whatever is
//! accepted gives rows that f32 holds, for every rule, number and extreme; the rest is refused with its name. Needs no
//! GPU.

#![allow(dead_code)] // a page runs the trials one by one

use libtest_mimic::{Arguments, Failed, Trial};
use wgpu_optim::program::{Clock, Declared, Limits, Options, Packing, Program, Tensors};
use wgpu_optim::reference::Reference;
use wgpu_optim::rule::{Config, HostState, Range};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, Lookahead, LossScale, Wrappers};

pub fn main() {
    let trials: [(&str, fn()); 4] = [
        ("what is accepted can be used", what_is_accepted_can_be_used),
        ("by name", by_name),
        ("wrappers too", wrappers_too),
        ("at a step", at_a_step),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), trials.map(trial).into()).exit();
}

/// Numbers at and beyond the ends of f32 and of each range.
fn extremes(limit: Range) -> Vec<f64> {
    let ends = match limit {
        Range::AtLeast(low) | Range::Above(low) => vec![low],
        Range::HalfOpen(low, high) | Range::Closed(low, high) => {
            vec![low, high, high.next_down(), high - 1e-6]
        }
        Range::Finite => vec![],
    };
    let common =
        [0.0, 5e-324, 1e-46, 1e-40, 1.2e-38, 1e-20, 1.0, 1e20, 3.4e38, 1e39, 1e300, f64::INFINITY, f64::NAN];
    ends.into_iter().chain(common).flat_map(|x| [x, -x]).collect()
}

fn with(config: &AnyRule, field: &str, value: f64) -> AnyRule {
    let mut changed = config.clone();
    changed.rule_mut().numbers(&mut |name, number, _| {
        if name == field {
            *number = value;
        }
    });
    changed
}

fn rows_are_finite(config: &AnyRule, what: &str) {
    let rule = config.rule();
    for t in [1, 2, 3, 10, 1000, 1 << 24] {
        let mut row = vec![0.0; rule.spec().fields.len()];
        rule.host_scalars(t, &mut HostState::default(), &mut row);
        for (field, value) in rule.spec().fields.iter().zip(row) {
            assert!((value as f32).is_finite(), "{what}: {} = {value:e} at step {t}", field.name);
        }
    }
}

fn what_is_accepted_can_be_used() {
    let (mut accepted, mut refused) = (0, 0);
    for config in REGISTRY.iter().flat_map(|entry| (entry.variants)()) {
        let mut numbers = vec![];
        config.clone().rule_mut().numbers(&mut |name, _, limit| numbers.push((name, limit)));
        for (field, limit) in numbers {
            for value in extremes(limit) {
                let what = format!("{}: {field} = {value:e}", config.name());
                let changed = with(&config, field, value);
                match Reference::new([changed.clone()], [(0, vec![1.0])]) {
                    Ok(mut reference) => {
                        accepted += 1;
                        let used = value as f32;
                        assert!(used.is_normal() || value == 0.0, "{what} is {used:e} in f32");
                        assert!(limit.allows(f64::from(used)), "{what} is {used:e} in f32");
                        rows_are_finite(&changed, &what);
                        reference.step(&[vec![0.5]]).unwrap();
                        assert!(!reference.tensors()[0].theta[0].is_nan(), "{what}: NaN");
                    }
                    Err(Error::Config { refusal, .. }) => {
                        refused += 1;
                        // What a number leads to is refused by the host scalar's name.
                        let named = refusal.field == field || method_has(&config, refusal.field);
                        assert!(named, "{what}: refused as {refusal}");
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

fn method_has(config: &AnyRule, name: &str) -> bool {
    let mut known = config.rule().spec().fields.iter().any(|field| field.name == name);
    config.clone().rule_mut().numbers(&mut |number, _, _| known |= number == name);
    known
}

fn by_name() {
    for (json, part) in [
        (r#"{"optimizer": "adam", "eps": 1e-46}"#, "eps = "),
        (r#"{"optimizer": "adam", "lr": 1e39}"#, "at most 3.4028235e38, which f32 holds"),
        (r#"{"optimizer": "adamw", "weight_decay": 1e39}"#, "weight_decay = 1"),
        (r#"{"optimizer": "adagrad", "initial_accumulator": 1e39}"#, "initial_accumulator = 1"),
        (r#"{"optimizer": "adam", "beta2": 0.99999999999}"#, "also in f32, where it is 1"),
        (r#"{"optimizer": "schedule_free_adamw", "r": 1000}"#, "finite in f32 at step"),
        (r#"{"optimizer": "adamw", "lr": 1e30, "weight_decay": 1e30}"#, "lr_wd"),
    ] {
        let error = AnyRule::from_json(json).expect_err(json).to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
}

fn wrappers_too() {
    let around = |value: f64| {
        let (scale, lookahead) = (LossScale::default(), Lookahead::default());
        let plain = Wrappers::default();
        [
            Wrappers { max_grad_norm: Some(value), ..plain },
            Wrappers { max_tensor_norm: Some(value), ..plain },
            Wrappers { max_grad_value: Some(value), ..plain },
            Wrappers { ema: Some(value), ..plain },
            Wrappers { lookahead: Some(Lookahead { alpha: value, ..lookahead }), ..plain },
            Wrappers { loss_scale: Some(LossScale { initial: value, ..scale }), ..plain },
            Wrappers { loss_scale: Some(LossScale { growth: value, ..scale }), ..plain },
            Wrappers { loss_scale: Some(LossScale { backoff: value, ..scale }), ..plain },
        ]
    };
    for value in [5e-324, 1e-46, 1e-40, 1e39, 1e300, f64::INFINITY, f64::NAN, -1.0] {
        for wrappers in around(value) {
            assert!(wrappers.validate().is_err(), "{value:e}: {wrappers:?}");
        }
    }
    assert!(around(1e-46)[5].validate().unwrap_err().to_string().starts_with("loss_scale.initial = "));
}

/// A number that becomes too large in mid-run is refused at the step, which then does not count.
fn at_a_step() {
    let limits = Limits::default();
    let tensor = Declared { name: "w".into(), shape: vec![4], group: 0, own: None };
    let tensors = Tensors::lay_out(&["g"], &[tensor], &[], Packing::default(), &limits).unwrap();
    let config = AnyRule::from_json(r#"{"optimizer": "adamw", "lr": 1e30, "weight_decay": 0.01}"#).unwrap();
    let mut options = Options::default();
    options.wrappers.max_grad_norm = Some(1.0);
    let program = Program::new(&tensors, std::slice::from_ref(&config), &options, &limits).unwrap();
    let mut clock = Clock::new(&program, [config], options.wrappers).unwrap();
    let step = |clock: &mut Clock<AnyRule>| clock.next_step().map(drop);
    step(&mut clock).unwrap();
    clock.group_mut(0).unwrap().set("weight_decay", 1e30).unwrap();
    let error = step(&mut clock).unwrap_err();
    assert!(error.to_string().starts_with("group 'g': lr_wd = 1"), "{error}");
    clock.group_mut(0).unwrap().set("weight_decay", 0.01).unwrap();
    clock.wrappers_mut().max_grad_norm = Some(1e-46);
    assert!(step(&mut clock).unwrap_err().to_string().contains("max_grad_norm = "));
    assert_eq!(clock.recorded(), 1);
    clock.wrappers_mut().max_grad_norm = Some(2.0);
    step(&mut clock).unwrap();
    assert_eq!(clock.recorded(), 2);
}
