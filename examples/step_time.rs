//! What a step costs on wgpu: the least time on the device of forty, by timestamps around some steps, and the host's median
//! time to record one. The twin of `capi/examples/vulkan/step_time.cpp`, for `scripts/capi-bench.sh`, which takes turns.
//! `make bench` measures more.
//!
//! ```text
//! cargo run --release --example step_time -- [PARAMETERS [TENSORS [GROUPS [PART OF AN ADAPTER'S NAME]]]]
//! ```

use anyhow::{Context, Result};
use std::time::Instant;
use wgpu_optim::rules::Adam;
use wgpu_optim::wgpu;
use wgpu_optim::{Optimizer, Options, ParamSet};

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, other: usize| arguments.get(index).map_or(Ok(other), |text| text.parse());
    let (parameters, tensors, groups) = (number(0, 8_388_608)?, number(1, 1)?, number(2, 1)?);
    let steps = if parameters > 1_000_000 { 4 } else { 64 };
    let part = arguments.get(3).map_or("", String::as_str);
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name.contains(part));
    let adapter = adapter.with_context(|| format!("no Vulkan adapter called '{part}'"))?;
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu_optim::required_limits(&adapter),
        required_features: wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;

    let mut params = ParamSet::builder();
    let handles: Vec<_> = (0..groups).map(|group| params.group(group.to_string())).collect();
    for i in 0..tensors {
        params.tensor(i.to_string(), [parameters / tensors], handles[i % groups]);
    }
    let params = params.build(&device)?;
    let ones = vec![1.0; parameters / tensors];
    for i in 0..tensors {
        let tensor = params.find(&i.to_string()).context("declared above")?;
        params.write_param(&queue, tensor, &ones)?;
        params.write_grad(&queue, tensor, &ones)?;
    }
    let mut options = Options::default();
    options.steps_ahead = Some(64);
    let adamw = vec![Adam::adamw(); groups];
    let mut optimizer = Optimizer::with_options(&device, &queue, &params, adamw, &options)?;

    let times = device.create_query_set(&wgpu::QuerySetDescriptor {
        label: None,
        ty: wgpu::QueryType::Timestamp,
        count: 2,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage,
            mapped_at_creation: false,
        })
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let back = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let (mut on_device, mut on_host) = (vec![], vec![]);
    for round in 0..42 {
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.write_timestamp(&times, 0);
        let start = Instant::now();
        for _ in 0..steps {
            optimizer.step(&mut encoder)?;
        }
        let recording = start.elapsed();
        encoder.write_timestamp(&times, 1);
        encoder.resolve_query_set(&times, 0..2, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &back, 0, 16);
        queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |_| {});
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&back.get_mapped_range(..)?[..]);
        back.unmap();
        // Caches and clocks warm up.
        if round >= 2 {
            let period = f64::from(queue.get_timestamp_period());
            on_device.push((ticks[1] - ticks[0]) as f64 * period / 1e3 / steps as f64);
            on_host.push(recording.as_secs_f64() * 1e6 / steps as f64);
        }
    }
    // Whatever else the machine does only adds to it.
    let least = on_device.into_iter().fold(f64::INFINITY, f64::min);
    println!("{least:.2} us on the device, {:.2} us on the host", median(on_host));
    Ok(())
}
