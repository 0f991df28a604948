//! Claim: a device with small limits gets the same bits in more buffers, arenas or dispatches, or an error
//! that names the limit; nothing is cut short and nothing is allocated in vain.

mod common;

use common::run::{BINDABLE, Run, Words, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::wgpu::{Adapter, Limits};
use wgpu_optim::{AnyRule, Error, Optimizer, Options, ParamSet, required_limits};

/// 140 kB in all, and the first tensor 75 kB.
const LENS: [usize; 4] = [18_755, 5, 3_750, 12_500];
const SIZE: u64 = 1 << 16;

/// What a rule needs and has.
struct Needs {
    /// Storage buffers beside the slots': table, parameters, gradients, and what is measured or averaged.
    fixed: u32,
    /// Dispatches that every window has, and those that are there once.
    dispatches: (usize, usize),
    slots: usize,
    /// A ring keeps many values in one binding, which then has room for fewer elements.
    ring: bool,
}

fn needs(config: &AnyRule) -> Needs {
    let (rule, spec) = (config.rule(), config.rule().spec());
    let mut depths = vec![0; spec.slots.len()];
    rule.depths(&mut depths);
    let (reduces, factored) = (rule.reduces() && spec.results().next().is_some(), spec.is_factored());
    let device = spec.device_scalars().next().is_some();
    Needs {
        fixed: 3 + u32::from(reduces) + u32::from(factored),
        dispatches: (
            1 + usize::from(reduces) + usize::from(factored),
            usize::from(reduces) + 2 * usize::from(factored) + usize::from(device),
        ),
        slots: depths.iter().filter(|depth| **depth > 0).count(),
        ring: depths.iter().any(|depth| *depth > 1),
    }
}

/// A limit, and whether a run on such a device has the number of windows that it should have.
type Small = (&'static str, fn(&mut Limits, &Needs), fn(usize, &Needs) -> bool);

const SMALL: [Small; 5] = [
    (
        "128 invocations a workgroup",
        |limits, _| {
            limits.max_compute_invocations_per_workgroup = 128;
            limits.max_compute_workgroup_size_x = 128;
        },
        |windows, _| windows == 1,
    ),
    (
        "one storage buffer for all slots",
        |limits, needs| limits.max_storage_buffers_per_shader_stage = needs.fixed + 1,
        |windows, _| windows == 1,
    ),
    (
        "bindings of 64 KiB",
        |limits, _| limits.max_storage_buffer_binding_size = SIZE,
        |windows, needs| windows == 3 || needs.ring && windows > 3,
    ),
    (
        "bindings of 64 KiB and one storage buffer for all slots",
        |limits, needs| {
            limits.max_storage_buffer_binding_size = SIZE;
            limits.max_storage_buffers_per_shader_stage = needs.fixed + 1;
        },
        // The slots share a binding, so a window has room for fewer elements.
        |windows, needs| windows >= (2 * needs.slots).max(3),
    ),
    (
        "buffers of 80 KiB",
        |limits, _| limits.max_buffer_size = SIZE + SIZE / 4,
        |windows, needs| windows == 2 || needs.ring && windows > 2,
    ),
];

fn main() {
    gpu_main("small_limits", |adapter| {
        let own = adapter.clone();
        let mut trials = vec![trial(adapter, "a tensor larger than a buffer", move |_| {
            larger_than_a_buffer(&open(&own, |limits| limits.max_buffer_size = SIZE))
        })];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let (own, rule) = (adapter.clone(), config.clone());
                let name = format!("{} variant {i}: small limits give the same bits", entry.name);
                trials.push(trial(adapter, name, move |gpu| same_bits(gpu, &own, &rule)));
                let own = adapter.clone();
                let name = format!("{} variant {i}: no storage buffer for slots", entry.name);
                trials.push(trial(adapter, name, move |_| {
                    let fixed = needs(&config).fixed;
                    let few = |limits: &mut Limits| limits.max_storage_buffers_per_shader_stage = fixed;
                    no_buffer_for_slots(&open(&own, few), &config)
                }));
            }
        }
        trials
    });
}

fn open(adapter: &Adapter, change: impl Fn(&mut Limits)) -> Gpu {
    let mut limits = required_limits(adapter);
    change(&mut limits);
    Gpu::open_with(adapter, limits)
}

/// Four steps of one group.
fn steps(run: &mut Run) -> Words {
    run.write_theta(&parameters(9, &LENS));
    for step in 0..4 {
        run.step(&gradients(10, step, &LENS));
    }
    run.read()
}

fn start<'a>(gpu: &'a Gpu, config: &AnyRule) -> Run<'a> {
    Run::new(gpu, std::slice::from_ref(config), &LENS.map(|len| (len, 0)), BINDABLE, &Options::default())
}

fn same_bits(gpu: &Gpu, adapter: &Adapter, config: &AnyRule) {
    let needs = needs(config);
    let (each, once) = needs.dispatches;
    let windows = |run: &Run| (run.optimizer.dispatches_per_step() - once) / each;
    let mut run = start(gpu, config);
    assert_eq!(windows(&run), 1);
    let expected = steps(&mut run).bits();
    for (name, change, windows_are_right) in SMALL {
        let gpu = open(adapter, |limits| change(limits, &needs));
        let mut run = start(&gpu, config);
        assert!(windows_are_right(windows(&run), &needs), "{name}: {} windows", windows(&run));
        // Not assert_eq: every word would be printed.
        assert!(steps(&mut run).bits() == expected, "{name}: other bits");
    }
}

/// Enough for a rule without slots only.
fn no_buffer_for_slots(gpu: &Gpu, config: &AnyRule) {
    let needs = needs(config);
    if needs.slots == 0 {
        steps(&mut start(gpu, config));
        return;
    }
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("w", [8], group);
    let params = params.build(&gpu.device).unwrap();
    let error = Optimizer::new(&gpu.device, &gpu.queue, &params, [config.clone()]).unwrap_err();
    let Error::Limit { needed, limit_name, limit, .. } = &error else { panic!("{error}") };
    assert_eq!((*needed, *limit), (u64::from(needs.fixed) + 1, needs.fixed.into()));
    assert_eq!(*limit_name, "max_storage_buffers_per_shader_stage");
    assert!(error.to_string().contains(config.name()) && error.to_string().contains(limit_name));
}

fn larger_than_a_buffer(gpu: &Gpu) {
    let counters = || gpu.device.get_internal_counters().hal;
    let before = counters();
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("fits", [1000], group);
    params.tensor("embedding", [SIZE as usize / 16 + 1, 4], group);
    let error = params.build(&gpu.device).unwrap_err();
    let Error::Limit { limit_name: "max_buffer_size", limit: SIZE, needed, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(needed, SIZE + 16);
    let message = error.to_string();
    assert!(message.contains("'embedding' of shape [4097, 4]") && message.contains("65536"), "{message}");
    let after = counters();
    assert_eq!(after.buffers.read(), before.buffers.read());
    assert_eq!(after.buffer_memory.read(), before.buffer_memory.read());

    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("embedding", [SIZE as usize / 16, 4], group);
    let _built = params.build(&gpu.device).unwrap();
    assert!(counters().buffers.read() > after.buffers.read(), "the counter counts");
}
