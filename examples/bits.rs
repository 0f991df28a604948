//! A line for every rule's variants, wrappers and layouts of tensors: a hash of all words of parameters and slots after
//! five steps. For changes that must not change a result: run it before and after, on one adapter, and compare.
//!
//! ```text
//! cargo run --release --example bits -- llvmpipe > before.txt
//! ```

#[path = "support/adapter.rs"]
mod adapter;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{
    AnyRule, BufferRange, Error, Lookahead, LossScale, NonFinite, Optimizer, Options, ParamSet, TensorId,
    Wrappers,
};

const STEPS: u32 = 5;

fn main() -> anyhow::Result<()> {
    let opened = adapter::choose(std::env::args().nth(1).as_deref())?;
    eprintln!("{}", opened.adapter.get_info().name);
    for entry in REGISTRY {
        for (variant, rule) in (entry.variants)().into_iter().enumerate() {
            for (around, wrappers) in wrapped() {
                for layout in [Layout::One, Layout::Ragged, Layout::Foreign] {
                    let bits = run(&opened, &rule, wrappers, layout)?;
                    println!("{} {variant} {around} {layout:?} {bits:016x}", entry.name);
                }
            }
        }
    }
    Ok(())
}

/// What may stand around a rule, one at a time.
fn wrapped() -> [(&'static str, Wrappers); 10] {
    let plain = Wrappers::default();
    [
        ("plain", plain),
        ("clip", Wrappers { max_grad_norm: Some(1.0), ..plain }),
        ("tensor-clip", Wrappers { max_tensor_norm: Some(0.5), ..plain }),
        ("skip", Wrappers { non_finite: NonFinite::Skip, ..plain }),
        ("loss-scale", Wrappers { loss_scale: Some(LossScale::default()), ..plain }),
        ("cautious", Wrappers { cautious: true, ..plain }),
        ("lookahead", Wrappers { lookahead: Some(Lookahead { k: 2, alpha: 0.5 }), ..plain }),
        ("ema", Wrappers { ema: Some(0.9), ..plain }),
        ("grad_accumulation_steps", Wrappers { grad_accumulation_steps: Some(2), ..plain }),
        ("zero", Wrappers { zero_grad: true, ..plain }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// One tensor in one group.
    One,
    /// Four tensors of odd sizes in two groups.
    Ragged,
    /// The same in the caller's buffers, at offsets that no vec4 fits.
    Foreign,
}

fn run(opened: &adapter::Opened, rule: &AnyRule, wrappers: Wrappers, layout: Layout) -> anyhow::Result<u64> {
    let (device, queue) = (&opened.device, &opened.queue);
    let shapes: &[(&[usize], usize)] = match layout {
        Layout::One => &[(&[37, 29], 0)],
        _ => &[(&[65, 33], 0), (&[7], 1), (&[3, 5, 2], 0), (&[4097], 1)],
    };
    let mut builder = ParamSet::builder();
    let groups = [builder.group("first"), builder.group("second")];
    let mut rules = vec![rule.clone(), rule.clone()];
    if let Some(lr) = rule.get("lr") {
        rules[1].set("lr", lr / 2.0)?;
    }
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let [params, grads] = ["parameters", "gradients"].map(|label| {
        let label = Some(label);
        device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size: 1 << 16,
            usage,
            mapped_at_creation: false,
        })
    });
    let mut at = 4;
    let mut ids: Vec<TensorId> = vec![];
    for (index, (shape, group)) in shapes.iter().enumerate() {
        let (name, group) = (format!("tensor {index}"), groups[*group]);
        ids.push(if layout == Layout::Foreign {
            let range = |buffer| BufferRange::new(buffer, at);
            let id = builder.external(name, shape, group, range(&params), range(&grads));
            at += 4 * (shape.iter().product::<usize>() as u64 + 3);
            id
        } else {
            builder.tensor(name, shape, group)
        });
    }
    let set = builder.build(device)?;
    let mut options = Options::default();
    options.wrappers = wrappers;
    let mut optimizer = Optimizer::with_options(device, queue, &set, rules, &options)?;
    let len = |index: usize| shapes[index].0.iter().product::<usize>();
    for (index, id) in ids.iter().enumerate() {
        set.write_param(queue, *id, &numbers(len(index), index as u32, 1.0))?;
    }
    for step in 0..STEPS {
        for (index, id) in ids.iter().enumerate() {
            let mut g = numbers(len(index), 100 * (step + 1) + index as u32, 0.1);
            // Wrappers that skip meet something to skip.
            if step == 2 && index == 0 && wrappers.skips() {
                g[3] = f32::INFINITY;
            }
            set.write_grad(queue, *id, &g)?;
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
    }
    let mut hasher = DefaultHasher::new();
    for id in &ids {
        let mut see = |words: Result<Vec<f32>, Error>| -> Result<(), Error> {
            words?.iter().for_each(|word| word.to_bits().hash(&mut hasher));
            Ok(())
        };
        see(set.read_param_blocking(queue, *id))?;
        for slot in optimizer.slots() {
            see(optimizer.read_slot_blocking(queue, *id, slot))?;
        }
    }
    Ok(hasher.finish())
}

/// Numbers that look random, below `size` in magnitude, the same everywhere.
fn numbers(count: usize, seed: u32, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        size * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}
