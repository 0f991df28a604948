//! Claim: bad input is refused with an error that names the tensor or group, the field, the value and the
//! limit; nothing panics and nothing reaches the host's uncaptured-error handler. Needs no GPU.

use serde_json::{Value, json};
use wgpu_optim::program::WORKGROUP;
use wgpu_optim::rule::{Config, Range};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::rules::names;
use wgpu_optim::rules::{Adam, MAdam, Prodigy, Sgd};
use wgpu_optim::wgpu::{self, BufferUsages, Limits};
use wgpu_optim::{AnyRule, BufferRange, Error, Optimizer, Options, ParamSet};

/// A device that executes nothing but validates everything. Errors that nobody scoped panic.
fn device_with(change: impl FnOnce(&mut Limits)) -> (wgpu::Device, wgpu::Queue) {
    let mut required_limits = Limits::default();
    change(&mut required_limits);
    wgpu::Device::noop(&wgpu::DeviceDescriptor { required_limits, ..Default::default() })
}

fn device() -> (wgpu::Device, wgpu::Queue) {
    device_with(|_| {})
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
fn outside(limit: Range) -> Vec<f64> {
    let near = match limit {
        Range::AtLeast(low) => vec![low.next_down(), low - 1.0],
        Range::Above(low) => vec![low, low - 1.0],
        Range::HalfOpen(low, high) => vec![low.next_down(), high, high + 1.0],
        Range::Closed(low, high) => vec![low.next_down(), high.next_up(), high + 1.0],
        Range::Finite => vec![],
    };
    near.into_iter().chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]).collect()
}

fn numbers(rule: &AnyRule) -> Vec<(&'static str, Range)> {
    let mut all = vec![];
    rule.clone().rule_mut().numbers(&mut |name, _, limit| all.push((name, limit)));
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
    let (device, queue) = device();
    let params = one_tensor(&device, 8);
    for config in configs() {
        assert!(numbers(&config).iter().any(|(name, _)| *name == "lr"), "{}", config.name());
        for (field, limit) in numbers(&config) {
            for value in outside(limit) {
                let mut wrong = config.clone();
                wrong.rule_mut().numbers(&mut |name, number, _| {
                    if name == field {
                        *number = value;
                    }
                });
                let parts = ["'weights'", field, &value.to_string(), &limit.to_string()];
                let error = says(Optimizer::new(&device, &queue, &params, [wrong]), &parts);
                assert!(matches!(error, Error::Config { .. }), "{error:?}");

                let mut kept = config.clone();
                let refusal = kept.set(field, value).unwrap_err();
                assert_eq!((refusal.field, refusal.value), (field, value.to_string()));
                assert_eq!(kept.rule().to_json(), config.rule().to_json(), "nothing was set");
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
    let (device, queue) = device();
    let params = one_tensor(&device, 8);
    let madam = MAdam { beta_min: 0.9, beta_max: 0.8, ..MAdam::default() };
    says(
        Optimizer::new(&device, &queue, &params, [madam]),
        &["'weights'", "beta_min = 0.9", "beta_max = 0.8"],
    );
    let sgd = Sgd { nesterov: true, ..Sgd::default() };
    says(Optimizer::new(&device, &queue, &params, [sgd]), &["'weights'", "nesterov = true", "momentum"]);
}

#[test]
fn a_schedule_cannot_set_what_is_not_there() {
    for config in configs() {
        let refusal = config.clone().set("beta7", 0.5).unwrap_err().to_string();
        assert!(refusal.contains("beta7") && refusal.contains(config.name()), "{refusal}");
        assert_eq!(config.get("beta7"), None);
    }
}

#[test]
fn unknown_optimizers_and_malformed_json() {
    let known = names().join(", ");
    says(AnyRule::named("adamx"), &["'adamx'", &known]);
    says(AnyRule::from_json(r#"{"optimizer": "Adam"}"#), &["'Adam'", &known]);
    says(AnyRule::from_json(r#"{"lr": 0.1}"#), &["\"optimizer\" is missing"]);
    says(AnyRule::from_json(r#"{"optimizer": 7}"#), &["\"optimizer\" is 7"]);
    says(AnyRule::from_json("[1, 2]"), &["not a JSON object"]);
    says(AnyRule::from_json(""), &["EOF"]);
    says(AnyRule::from_json(r#"{"optimizer": "adam", "lr": 1e999}"#), &["out of range"]);
    says(AnyRule::from_json(r#"{"optimizer": "adam", "lr": NaN}"#), &["line 1"]);
    says(AnyRule::from_json(r#"{"optimizer": "adam"} {}"#), &["trailing"]);
    says(AnyRule::from_json(&"[".repeat(100_000)), &["recursion limit"]);
}

#[test]
fn unknown_options_and_wrong_types() {
    for name in names() {
        let says_json = |options: Value, parts: &[&str]| {
            let error = says(AnyRule::from_json(&options.to_string()), parts);
            assert!(matches!(error, Error::Json { .. }), "{error:?}");
        };
        says_json(json!({"optimizer": name, "learning_rate": 0.1}), &[name, "learning_rate", "lr"]);

        let rule = AnyRule::named(name).unwrap();
        let options = rule.rule().to_json();
        for (option, value) in options.as_object().unwrap().iter().filter(|(key, _)| *key != "optimizer") {
            for wrong in [json!([]), json!({"a": 1}), json!("nonsense")] {
                let (option, text) = (option.as_str(), wrong.to_string());
                says_json(json!({"optimizer": name, option: wrong}), &[name, option, &text]);
            }
            if !value.is_null() {
                says_json(json!({"optimizer": name, option.as_str(): null}), &[name, option, "null"]);
            }
        }
    }
}

#[test]
fn json_of_a_rule_gives_the_rule() {
    for config in configs() {
        let json = config.rule().to_json();
        assert_eq!(AnyRule::from_json(&json.to_string()).unwrap().rule().to_json(), json);
    }
}

#[test]
fn names_differ_and_handles_are_of_this_set() {
    let (device, queue) = device();
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("fc1.weight", [4, 4], group);
    params.tensor("fc1.weight", [4], group);
    says(params.build(&device), &["'fc1.weight'", "twice"]);

    let mut other = ParamSet::builder();
    other.group("a");
    let foreign = other.group("b");
    let mut params = ParamSet::builder();
    params.group("g");
    params.tensor("w", [4], foreign);
    says(params.build(&device), &["group handle 1", "has 1"]);

    let mut larger = ParamSet::builder();
    let group = larger.group("g");
    larger.tensor("a", [4], group);
    let foreign_tensor = larger.tensor("b", [4], group);
    let params = one_tensor(&device, 4);
    let mut optimizer = Optimizer::new(&device, &queue, &params, [Adam::default()]).unwrap();
    let parts = ["tensor handle 1", "has 1"];
    says(params.tensor(foreign_tensor).map(|_| ()), &parts);
    says(params.param(foreign_tensor).map(|_| ()), &parts);
    says(params.grad(foreign_tensor).map(|_| ()), &parts);
    says(params.download_param(&mut encoder(&device), foreign_tensor), &parts);
    says(optimizer.download_slot(&mut encoder(&device), foreign_tensor, "m"), &parts);
    says(optimizer.group(foreign).map(|_| ()), &["group handle 1", "has 1"]);
    says(optimizer.group_mut(foreign).map(|_| ()), &["group handle 1", "has 1"]);
    let tensor = params.find("w").unwrap();
    says(optimizer.download_slot(&mut encoder(&device), tensor, "momentum"), &["'momentum'", "m, v"]);
    assert!(params.find("missing").is_none());
}

#[test]
fn one_configuration_for_each_group_and_one_rule() {
    let (device, queue) = device();
    let mut params = ParamSet::builder();
    let (decay, _) = (params.group("decay"), params.group("no decay"));
    params.tensor("w", [4], decay);
    let params = params.build(&device).unwrap();
    for configs in [0, 1, 3] {
        let configs = vec![Adam::default(); configs];
        let parts = ["2 parameter group", &format!("{} configuration", configs.len())];
        says(Optimizer::new(&device, &queue, &params, configs), &parts);
    }
    let mixed = [AnyRule::new(Sgd::default()), AnyRule::new(Adam::default())];
    says(Optimizer::new(&device, &queue, &params, mixed), &["'no decay'", "'adam'", "'sgd'"]);
    // All groups share the device scalars of Prodigy.
    let apart = [Prodigy::default(), Prodigy { d0: 0.5, ..Prodigy::default() }];
    let parts = ["'no decay'", "d = 0.5", "it must be 0.000001, as in the first group"];
    says(Optimizer::new(&device, &queue, &params, apart), &parts);
    let nothing = ParamSet::builder().build(&device).unwrap();
    says(Optimizer::<Adam>::new(&device, &queue, &nothing, []), &["0 parameter group"]);
}

#[test]
fn shapes_that_cannot_be_addressed() {
    let (device, _queue) = device();
    let with_shape = |shape: &[usize]| {
        let mut params = ParamSet::builder();
        let group = params.group("g");
        params.tensor("w", shape, group);
        params.build(&device)
    };
    says(with_shape(&[usize::MAX, 2]), &["'w'", "shape [18446744073709551615, 2]"]);
    says(with_shape(&[usize::MAX / 2]), &["'w'", "shape"]);
    let elements = device.limits().max_buffer_size as usize / 4 + 1;
    let parts =
        [&format!("shape [{elements}]"), "max_buffer_size", &device.limits().max_buffer_size.to_string()];
    says(with_shape(&[elements]), &parts.map(|part: &str| part));
}

#[test]
fn lengths_of_data() {
    let (device, queue) = device();
    let params = one_tensor(&device, 4);
    let tensor = params.find("w").unwrap();
    for len in [0, 3, 5] {
        let parts = ["'w'", "4 elements", &format!("{len} were given")];
        says(params.write_param(&queue, tensor, &vec![0.0; len]), &parts);
        says(params.write_grad(&queue, tensor, &vec![0.0; len]), &parts);
    }
}

type Place<'a> = (&'a wgpu::Buffer, u64);

/// A set of 8-element tensors `w0`, `w1`, ... in the caller's buffers.
fn externals(device: &wgpu::Device, tensors: &[(Place, Place)]) -> Result<ParamSet, Error> {
    let mut params = ParamSet::builder();
    let group = params.group("g");
    for (i, (param, grad)) in tensors.iter().enumerate() {
        let range = |place: &Place| BufferRange::new(place.0, place.1);
        params.external(format!("w{i}"), [8], group, range(param), range(grad));
    }
    params.build(device)
}

fn buffer(device: &wgpu::Device, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

#[test]
fn buffers_of_the_callers() {
    let (device, _queue) = device();
    let make = |size| buffer(&device, size, BufferUsages::STORAGE);
    let (good, other) = (make(64), make(64));
    assert!(externals(&device, &[((&good, 0), (&other, 32))]).is_ok());

    let wrong = buffer(&device, 64, BufferUsages::COPY_DST | BufferUsages::UNIFORM);
    let small = make(28);
    for (bad, offset, parts) in [
        (&wrong, 0, &["STORAGE", "UNIFORM"][..]),
        (&small, 0, &["28 bytes", "32 are needed"]),
        (&good, 36, &["64 bytes", "32 are needed", "byte 36"]),
        (&good, u64::MAX - 3, &["64 bytes", "32 are needed"]),
        (&good, 2, &["byte 2", "multiple of 4"]),
    ] {
        let all = |role| [&["'w0'", role], parts].concat();
        says(externals(&device, &[((bad, offset), (&other, 0))]), &all("parameter"));
        says(externals(&device, &[((&other, 0), (bad, offset))]), &all("gradient"));
    }
    // One buffer for both, where the device can bind them.
    let both = externals(&device, &[((&good, 0), (&good, 32))]);
    assert_eq!(both.is_ok(), wgpu_optim::program::Limits::of(&device).overlapping_bindings);
}

#[test]
fn tensors_that_share_elements() {
    let (device, _queue) = device();
    let [a, b, c, d] = [0; 4].map(|_| buffer(&device, 256, BufferUsages::STORAGE));
    let disjoint = [((&a, 0), (&b, 32)), ((&a, 32), (&b, 0)), ((&c, 0), (&b, 64))];
    assert!(externals(&device, &disjoint).is_ok(), "neighbours do not overlap");
    let parts = |role, at: &'static str| ["'w0'", "'w1'", role, at];
    says(externals(&device, &[((&a, 0), (&b, 0)), ((&a, 28), (&b, 64))]), &parts("parameter", "byte 28"));
    says(externals(&device, &[((&a, 0), (&b, 0)), ((&a, 64), (&b, 4))]), &parts("gradient", "byte 4"));
    // The same elements through two pairs of buffers.
    says(externals(&device, &[((&a, 0), (&b, 0)), ((&a, 0), (&c, 0))]), &parts("parameter", "byte 0"));
    says(externals(&device, &[((&a, 0), (&b, 0)), ((&c, 0), (&b, 0))]), &parts("gradient", "byte 0"));
    // Parameters of one tensor that are the gradients of another.
    says(externals(&device, &[((&a, 0), (&b, 0)), ((&c, 0), (&a, 0))]), &["'w0'", "'w1'", "byte 0"]);
    assert!(externals(&device, &[((&a, 0), (&b, 0)), ((&c, 0), (&d, 0))]).is_ok());
}

#[test]
fn reading_and_writing_need_usages() {
    let (device, queue) = device();
    let (a, b) = (buffer(&device, 32, BufferUsages::STORAGE), buffer(&device, 32, BufferUsages::STORAGE));
    let params = externals(&device, &[((&a, 0), (&b, 0))]).unwrap();
    let tensor = params.find("w0").unwrap();
    says(params.write_param(&queue, tensor, &[0.0; 8]), &["'w0'", "parameter", "COPY_DST"]);
    says(params.write_grad(&queue, tensor, &[0.0; 8]), &["'w0'", "gradient", "COPY_DST"]);
    says(params.download_param(&mut encoder(&device), tensor), &["'w0'", "parameter", "COPY_SRC"]);
    says(params.download_grad(&mut encoder(&device), tensor), &["'w0'", "gradient", "COPY_SRC"]);
    says(params.read_param_blocking(&queue, tensor), &["'w0'", "COPY_SRC"]);
    let mut optimizer = Optimizer::new(&device, &queue, &params, [Adam::default()]).unwrap();
    optimizer.step(&mut encoder(&device)).unwrap();
}

#[test]
fn what_belongs_to_another_device() {
    let mut instance = wgpu::InstanceDescriptor::new_without_display_handle();
    instance.backends = wgpu::Backends::NOOP;
    instance.backend_options.noop = wgpu::NoopBackendOptions::enabled();
    let instance = wgpu::Instance::new(instance);
    let [(ours, queue), (theirs, _)] = [(); 2].map(|()| {
        let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
        pollster::block_on(adapter.request_device(&Default::default())).unwrap()
    });
    let params = one_tensor(&theirs, 8);
    let error =
        says(Optimizer::new(&ours, &queue, &params, [Adam::default()]), &["parameters of another device"]);
    assert_eq!(error, Error::OtherDevice { what: "parameters" });
    let make = |device| buffer(device, 64, BufferUsages::STORAGE);
    let (param, grad) = (make(&ours), make(&theirs));
    let params = externals(&ours, &[((&param, 0), (&grad, 0))]).unwrap();
    says(Optimizer::new(&ours, &queue, &params, [Adam::default()]), &["'adam'", "doesn't match"]);
}

#[test]
fn handles_of_another_set() {
    let (device, queue) = device();
    let (ours, theirs) = (one_tensor(&device, 8), one_tensor(&device, 8));
    let tensor = theirs.find("w").unwrap();
    let group = theirs.group_of(tensor).unwrap();
    let parts = ["tensor handle 0 is not of this parameter set, which has 1"];
    let encoder = &mut encoder(&device);
    says(ours.tensor(tensor), &parts);
    says(ours.param(tensor), &parts);
    says(ours.grad(tensor), &parts);
    says(ours.write_param(&queue, tensor, &[0.0; 8]), &parts);
    says(ours.write_grad(&queue, tensor, &[0.0; 8]), &parts);
    says(ours.download_param(encoder, tensor), &parts);
    says(ours.download_grad(encoder, tensor), &parts);
    let mut optimizer = Optimizer::new(&device, &queue, &ours, [Adam::default()]).unwrap();
    says(optimizer.slot(tensor, "m"), &parts);
    says(optimizer.download_slot(encoder, tensor, "m"), &parts);
    let parts = ["group handle 0 is not of this parameter set, which has 1"];
    says(optimizer.group(group), &parts);
    says(optimizer.group_mut(group), &parts);
    let mut params = ParamSet::builder();
    params.group("g");
    params.tensor("w", [1], group);
    says(params.build(&device), &parts);
    // A clone is the same set.
    assert!(
        theirs.clone().param(tensor).is_ok()
            && optimizer.group(ours.group_of(ours.find("w").unwrap()).unwrap()).is_ok()
    );
}

#[test]
fn options_that_stand_twice() {
    for json in [
        r#"{"optimizer": "adam", "lr": 1, "lr": 2}"#,
        r#"{"optimizer": "adam", "optimizer": "sgd"}"#,
        r#"{"optimizer": "adam", "lookahead": {"k": 5, "k": 6}}"#,
    ] {
        says(AnyRule::from_json(json), &["stands twice"]);
        says(wgpu_optim::rules::Setup::from_json(json), &["stands twice"]);
    }
}

#[test]
fn tensors_without_elements_are_no_work() {
    let (device, queue) = device();
    let mut params = ParamSet::builder();
    let group = params.group("g");
    let empty = params.tensor("empty", [0, 7], group);
    let own = buffer(&device, 16, BufferUsages::STORAGE);
    let other = buffer(&device, 16, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
    let at_end = params.external("end", [0], group, BufferRange::new(&own, 16), BufferRange::new(&other, 0));
    let params = params.build(&device).unwrap();
    assert_eq!(params.elements(), 0);
    for config in configs() {
        let mut optimizer = Optimizer::new(&device, &queue, &params, [config]).unwrap();
        assert_eq!(optimizer.dispatches_per_step(), 0);
        assert_eq!(optimizer.state_bytes(), 0);
        let mut encoder = encoder(&device);
        optimizer.step(&mut encoder).unwrap();
        for slot in optimizer.slots() {
            assert!(optimizer.read_slot_blocking(&queue, empty, slot).unwrap().is_empty());
        }
        queue.submit([encoder.finish()]);
        assert_eq!(optimizer.steps(), 1);
    }
    params.write_param(&queue, empty, &[]).unwrap();
    assert!(params.read_param_blocking(&queue, empty).unwrap().is_empty());
    assert!(params.param(empty).is_ok() && params.grad(at_end).is_ok(), "can still be bound");
}

#[test]
fn devices_with_too_small_limits() {
    let bound = |change: fn(&mut Limits), config: Adam| {
        let (device, queue) = device_with(change);
        let params = one_tensor(&device, 1000);
        Optimizer::new(&device, &queue, &params, [config]).map(|_| ())
    };
    let buffers = |limits: &mut Limits| limits.max_storage_buffers_per_shader_stage = 3;
    let parts = ["'adam'", "4 needed", "max_storage_buffers_per_shader_stage is 3"];
    says(bound(buffers, Adam::default()), &parts);
    let (needed, too_few) = (format!("{WORKGROUP} needed"), WORKGROUP - 1);
    let invocations = |limits: &mut Limits| limits.max_compute_invocations_per_workgroup = WORKGROUP - 1;
    let limit = format!("max_compute_invocations_per_workgroup is {too_few}");
    says(bound(invocations, Adam::default()), &["'adam'", &needed, &limit]);
    let narrow = |limits: &mut Limits| limits.max_compute_workgroup_size_x = WORKGROUP - 1;
    let limit = format!("max_compute_workgroup_size_x is {too_few}");
    says(bound(narrow, Adam::default()), &["'adam'", &needed, &limit]);

    // A table of host scalars that is larger than a binding.
    let (device, queue) = device_with(|limits| limits.max_storage_buffer_binding_size = 1 << 14);
    let mut params = ParamSet::builder();
    for i in 0..1000 {
        let group = params.group(format!("g{i}"));
        params.tensor(format!("w{i}"), [1], group);
    }
    let params = params.build(&device).unwrap();
    let parts = ["'adam'", "1000 groups", "max_storage_buffer_binding_size is 16384"];
    says(Optimizer::new(&device, &queue, &params, vec![Adam::default(); 1000]), &parts);
}

#[test]
fn devices_with_hardly_any_room() {
    let sized = |change: fn(&mut Limits), len: usize| {
        let (device, queue) = device_with(change);
        let params = one_tensor(&device, len);
        Optimizer::new(&device, &queue, &params, [MAdam::default()])
            .map(|optimizer| optimizer.dispatches_per_step())
    };
    let tiny = |limits: &mut Limits| limits.max_storage_buffer_binding_size = 256;
    let parts = ["'madam'", "bytes of a binding: 272 needed", "max_storage_buffer_binding_size is 256"];
    says(sized(tiny, 1000), &parts);
    let small = |limits: &mut Limits| {
        limits.max_storage_buffer_binding_size = 512;
        limits.max_storage_buffers_per_shader_stage = 4;
    };
    // 512 bytes hold four slots of 32 elements.
    assert_eq!(sized(small, 1000).unwrap(), 32);
    let few_workgroups = |limits: &mut Limits| limits.max_compute_workgroups_per_dimension = 4;
    let parts = ["'madam'", "rows of workgroups", "max_compute_workgroups_per_dimension is 4"];
    // Eight tiles of 16 Ki may share a workgroup.
    says(sized(few_workgroups, 1 << 22), &parts);
}

#[test]
fn slots_packed_into_one_buffer_stay_below_the_largest_buffer() {
    let (device, queue) = device_with(|limits| {
        limits.max_buffer_size = 1 << 20;
        limits.max_storage_buffers_per_shader_stage = 4;
    });
    let params = one_tensor(&device, (1 << 18) - 64);
    let optimizer = Optimizer::new(&device, &queue, &params, [MAdam::default()]).unwrap();
    assert_eq!(optimizer.state_bytes(), 4 * 4 * ((1 << 18) - 64));
    assert_eq!(optimizer.dispatches_per_step(), 4);
}

#[test]
fn options_out_of_the_ordinary_are_put_right() {
    let (device, queue) = device();
    let params = one_tensor(&device, 5000);
    for tile in [0, 1, 300, u32::MAX] {
        for state_buffers in [0, 1, 100] {
            let mut options = Options::default();
            (options.tile, options.state_buffers) = (Some(tile), Some(state_buffers));
            let mut optimizer =
                Optimizer::with_options(&device, &queue, &params, [MAdam::default()], &options).unwrap();
            optimizer.step(&mut encoder(&device)).unwrap();
        }
    }
}

#[test]
fn wgsl_that_does_not_compile() {
    let (device, queue) = device();
    let params = one_tensor(&device, 8);
    let mut options = Options::default();
    options.wgsl = Some("struct Hyper { lr: f32 } fn update() -> f32 { return nonsense; }".into());
    let error =
        says(Optimizer::with_options(&device, &queue, &params, [Adam::default()], &options), &["'adam'"]);
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}
