//! Claim: a number is checked as it will be used: in f32, and through every host scalar that follows from it. Whatever is
//! accepted gives rows that f32 holds, for every rule, number and extreme; the rest is refused with its name. Needs no
//! GPU.

use wgpu_optim::reference::Reference;
use wgpu_optim::rule::{Config, HostState, Range};
use wgpu_optim::wgpu;
use wgpu_optim::{AnyRule, Error, Lookahead, LossScale, Optimizer, Options, ParamSet, REGISTRY, Wrappers};

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

#[test]
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

#[test]
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

#[test]
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
#[test]
fn at_a_step() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("w", [4], group);
    let params = params.build(&device).unwrap();
    let config = AnyRule::from_json(r#"{"optimizer": "adamw", "lr": 1e30, "weight_decay": 0.01}"#).unwrap();
    let mut options = Options::default();
    options.wrappers.max_grad_norm = Some(1.0);
    let mut optimizer = Optimizer::with_options(&device, &queue, &params, [config], &options).unwrap();
    let step = |optimizer: &mut Optimizer<AnyRule>| {
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)
    };
    step(&mut optimizer).unwrap();
    optimizer.group_mut(group).unwrap().set("weight_decay", 1e30).unwrap();
    let error = step(&mut optimizer).unwrap_err();
    assert!(error.to_string().starts_with("group 'g': lr_wd = 1"), "{error}");
    optimizer.group_mut(group).unwrap().set("weight_decay", 0.01).unwrap();
    optimizer.wrappers_mut().max_grad_norm = Some(1e-46);
    assert!(step(&mut optimizer).unwrap_err().to_string().contains("max_grad_norm = "));
    assert_eq!(optimizer.steps(), 1);
    optimizer.wrappers_mut().max_grad_norm = Some(2.0);
    step(&mut optimizer).unwrap();
    assert_eq!(optimizer.steps(), 2);
}
