//! Claim: bad input is refused with an error that names the tensor or group, the field, the value and the
//! limit; nothing panics and nothing reaches the host's uncaptured-error handler. Needs no GPU.

use serde_json::{Value, json};
use wgpu_optim::optimizers::{Adam, MAdam, Sgd};
use wgpu_optim::wgpu::{self, BufferUsages, Limits};
use wgpu_optim::{AnyRule, BufferRange, Config, Error, Limit, Optimizer, Options, ParamSet, REGISTRY, names};

/// A device that executes nothing but validates everything. Errors that nobody scoped panic.
fn device_with(change: impl FnOnce(&mut Limits)) -> (wgpu::Device, wgpu::Queue) {
    let mut required_limits = Limits::default();
    change(&mut required_limits);
    wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..Default::default() })
}

fn device() -> wgpu::Device {
    device_with(|_| {}).0
}

/// One group "weights" with one tensor "w".
fn one_tensor(device: &wgpu::Device, len: usize) -> ParamSet {
    let mut params = ParamSet::builder();
    let group = params.group("weights");
    params.tensor("w", [len], group);
    params.build(device).unwrap()
}

fn encoder(device: &wgpu::Device) -> wgpu::CommandEncoder {
    device.create_command_encoder(&Default::default())
}

/// The message of a refusal, which must contain all of `parts`.
fn says<T>(result: Result<T, Error>, parts: &[&str]) -> Error {
    let Err(error) = result else { panic!("not refused; expected an error about {parts:?}") };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "'{message}' does not mention '{part}'");
    }
    error
}

/// Values outside a range, the nearest ones among them.
fn outside(limit: Limit) -> Vec<f64> {
    let near = match limit {
        Limit::AtLeast(low) => vec![low.next_down(), low - 1.0],
        Limit::Above(low) => vec![low, low - 1.0],
        Limit::HalfOpen(low, high) => vec![low.next_down(), high, high + 1.0],
        Limit::Closed(low, high) => vec![low.next_down(), high.next_up(), high + 1.0],
        Limit::Finite => vec![],
    };
    near.into_iter().chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).collect()
}

fn numbers(rule: &AnyRule) -> Vec<(&'static str, Limit)> {
    let mut all = vec![];
    rule.clone().method_mut().numbers(&mut |name, _, limit| all.push((name, limit)));
    all
}

/// Every registered configuration, and those of optional numbers.
fn configs() -> Vec<AnyRule> {
    let mut all: Vec<AnyRule> = REGISTRY.iter().flat_map(|entry| (entry.variants)()).collect();
    all.push(AnyRule::new(MAdam { beta_first: Some(0.5), ..MAdam::default() }));
    all
}

#[test]
fn every_number_is_checked() {
    let device = device();
    let params = one_tensor(&device, 8);
    for config in configs() {
        assert!(numbers(&config).iter().any(|(name, _)| *name == "lr"), "{}", config.name());
        for (field, limit) in numbers(&config) {
            for value in outside(limit) {
                let mut wrong = config.clone();
                wrong.method_mut().numbers(&mut |name, number, _| {
                    if name == field {
                        *number = value;
                    }
                });
                let parts = ["'weights'", field, &value.to_string(), &limit.to_string()];
                let error = says(Optimizer::new(&device, &params, [wrong]), &parts);
                assert!(matches!(error, Error::Config { .. }), "{error:?}");

                let mut kept = config.clone();
                let refusal = kept.set(field, value).unwrap_err();
                assert_eq!((refusal.field, refusal.value), (field, value.to_string()));
                assert_eq!(kept.method().to_json(), config.method().to_json(), "nothing was set");
                if value.is_finite() {
                    let json = json!({"optimizer": config.name(), field: value}).to_string();
                    says(AnyRule::from_json(&json), &[field, &value.to_string(), &limit.to_string()]);
                }
            }
        }
    }
}

#[test]
fn numbers_are_checked_together() {
    let device = device();
    let params = one_tensor(&device, 8);
    let madam = MAdam { beta_min: 0.9, beta_max: 0.8, ..MAdam::default() };
    says(Optimizer::new(&device, &params, [madam]), &["'weights'", "beta_min = 0.9", "beta_max = 0.8"]);
    let sgd = Sgd { nesterov: true, ..Sgd::default() };
    says(Optimizer::new(&device, &params, [sgd]), &["'weights'", "nesterov = true", "momentum"]);
    says(Sgd::default_any().set_unknown(), &["beta7"]);
}

/// `set` refuses with a `Refusal`; the other tests compare `Error`.
trait Any {
    fn default_any() -> AnyRule;
}

impl Any for Sgd {
    fn default_any() -> AnyRule {
        AnyRule::new(Sgd::default())
    }
}
