//! Claim: a device with small limits gets the same bits in more buffers, arenas or dispatches, or an error
//! that names the limit; nothing is cut short and nothing is allocated in vain.

mod common;

use common::run::{BINDABLE, Run, Words, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::wgpu::{Adapter, Limits};
use wgpu_optim::{AnyRule, Config, Error, Optimizer, Options, ParamSet, REGISTRY, required_limits};

/// 140 kB in all, and the first tensor 75 kB.
const LENS: [usize; 4] = [18_757, 5, 3_750, 12_500];
const SIZE: u64 = 1 << 16;

/// A limit, and whether a run on such a device has the number of dispatches that it should have.
type Small = (&'static str, fn(&mut Limits), fn(usize, slots: usize) -> bool);

const SMALL: [Small; 4] = [
    (
        "4 storage buffers",
        |limits| limits.max_storage_buffers_per_shader_stage = 4,
        |dispatches, _| dispatches == 1,
    ),
    (
        "bindings of 64 KiB",
        |limits| limits.max_storage_buffer_binding_size = SIZE,
        |dispatches, _| dispatches == 3,
    ),
    (
        "bindings of 64 KiB and 4 storage buffers",
        |limits| {
            limits.max_storage_buffer_binding_size = SIZE;
            limits.max_storage_buffers_per_shader_stage = 4;
        },
        // The slots share a binding, so a window has room for fewer elements.
        |dispatches, slots| dispatches >= (2 * slots).max(3),
    ),
    ("buffers of 80 KiB", |limits| limits.max_buffer_size = SIZE + SIZE / 4, |dispatches, _| dispatches == 2),
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
                let name = format!("{} variant {i}: 3 storage buffers", entry.name);
                trials.push(trial(adapter, name, move |_| {
                    let few = |limits: &mut Limits| limits.max_storage_buffers_per_shader_stage = 3;
                    three_buffers(&open(&own, few), &config)
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
    let mut run = start(gpu, config);
    assert_eq!(run.optimizer.dispatches_per_step(), 1);
    let expected = steps(&mut run).bits();
    for (name, change, dispatches_are_right) in SMALL {
        let gpu = open(adapter, change);
        let mut run = start(&gpu, config);
        let (dispatches, slots) = (run.optimizer.dispatches_per_step(), run.optimizer.slots().len());
        assert!(dispatches_are_right(dispatches, slots), "{name}: {dispatches} dispatches");
        // Not assert_eq: every word would be printed.
        assert!(steps(&mut run).bits() == expected, "{name}: other bits");
    }
}

/// Room for table, parameters and gradients: enough for a rule without slots only.
fn three_buffers(gpu: &Gpu, config: &AnyRule) {
    let mut kept = vec![false; config.method().slots().len()];
    config.method().keeps(&mut kept);
    if !kept.contains(&true) {
        steps(&mut start(gpu, config));
        return;
    }
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("w", [8], group);
    let params = params.build(&gpu.device).unwrap();
    let error = Optimizer::new(&gpu.device, &params, [config.clone()]).unwrap_err();
    let Error::Limit { needed: 4, limit_name, limit: 3, .. } = &error else { panic!("{error}") };
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
