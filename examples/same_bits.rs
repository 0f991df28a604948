//! Holds a run that another executor recorded against the executor on wgpu: the same gradients must give the same bits,
//! step by step.
//!
//! ```text
//! heart --record run.bin
//! cargo run --release --example same_bits -- run.bin "part of an adapter's name"
//! ```
//!
//! A record is the description, a line of JSON; the words of its one buffer; and for each step the learning rate of all groups
//! and the words after it.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use wgpu_optim::program::Limits;
use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{BufferRange, Description, Optimizer, ParamSet};

/// A recorded run.
struct Record {
    description: String,
    start: Vec<u8>,
    /// The learning rate, and the words after the step.
    steps: Vec<(f64, Vec<u8>)>,
}

impl Record {
    fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = bytes.iter().position(|byte| *byte == b'\n').context("no description")?;
        let description = std::str::from_utf8(&bytes[..line])?.to_string();
        let json: serde_json::Value = serde_json::from_str(&description)?;
        let size = json["buffers"][0].as_u64().context("the description has no buffer")? as usize;
        let (start, steps) =
            bytes[line + 1..].split_at_checked(size).context("the record ends before its first step")?;
        ensure!(!steps.is_empty() && steps.len() % (8 + size) == 0, "the record ends inside a step");
        let step = |step: &[u8]| (f64::from_le_bytes(std::array::from_fn(|i| step[i])), step[8..].to_vec());
        Ok(Self { description, start: start.to_vec(), steps: steps.chunks(8 + size).map(step).collect() })
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: same_bits RECORD [PART OF AN ADAPTER'S NAME]")?;
    let record = Record::read(path.as_ref())?;
    let (device, queue) = device(&arguments.next().unwrap_or_default())?;
    let described = Description::from_json(&record.description, &Limits::of(&device))?;

    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let model = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("model"),
        contents: &record.start,
        usage,
    });
    let mut params = ParamSet::builder();
    let groups: Vec<_> = described.program.groups.iter().map(|label| params.group(label)).collect();
    for tensor in described.tensors.tensors() {
        let (param, grad) = described.tensors.places(tensor);
        let [param, grad] = [param, grad].map(|place| BufferRange::new(&model, place.offset));
        params.external(&tensor.name, &tensor.shape, groups[tensor.group], param, grad);
    }
    let params = params.build(&device)?;
    let (rules, wrappers) = (described.clock.groups().to_vec(), *described.clock.wrappers());
    let mut optimizer = Optimizer::of_program(&device, &queue, &params, described.program, rules, wrappers)?;

    // Of the words before a step only the parameters are ours: the gradients are those of the record.
    let first_gradient =
        described.tensors.tensors().iter().map(|tensor| described.tensors.places(tensor).1.offset).min();
    let first_gradient = first_gradient.context("no tensors")? as usize;
    for (step, (lr, expected)) in record.steps.iter().enumerate() {
        queue.write_buffer(&model, first_gradient as u64, &expected[first_gradient..]);
        for group in &groups {
            optimizer.group_mut(*group)?.set("lr", *lr)?;
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        let got = read(&device, &queue, &model)?;
        let words = got.chunks(4).zip(expected.chunks(4));
        if let Some(word) = words.clone().position(|(got, expected)| got != expected) {
            let different = words.filter(|(got, expected)| got != expected).count();
            bail!("step {}: {different} words differ, the first is word {word}", step + 1);
        }
    }
    println!("{path}: {} steps, every word the same", record.steps.len());
    Ok(())
}

fn device(part: &str) -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name.contains(part));
    let adapter = adapter.with_context(|| format!("no Vulkan adapter called '{part}'"))?;
    let required_limits = wgpu_optim::required_limits(&adapter);
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    Ok(pollster::block_on(adapter.request_device(&descriptor))?)
}

/// All bytes of a buffer.
fn read(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read back"),
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = staging.get_mapped_range(..)?.to_vec();
    Ok(bytes)
}
