//! What a sharded step takes on these ranks, beside copies of the same bytes and a step of one device: a line of JSON for each size.
//! `mpirun -n 2 target/release/examples/measure`.

#[path = "../../examples/support/adapter.rs"]
mod adapter;

use anyhow::{Context, Result};
use clap::Parser;
use mpi::traits::{Communicator, CommunicatorCollectives};
use std::time::Instant;
use wgpu_optim::rules::Adam;
use wgpu_optim::{Optimizer, Options, ParamSet};
use wgpu_optim_mpi::{ShardedOptimizer, Sharding};

/// Measures steps of AdamW on as many ranks as mpirun started
#[derive(Parser)]
struct Arguments {
    /// Parameters
    #[arg(long, value_delimiter = ',', default_values_t = [100_000usize, 1_000_000, 8_000_000])]
    elements: Vec<usize>,
    /// Tensors that they are in
    #[arg(long, default_value_t = 20)]
    tensors: usize,
    /// Steps of which medians are taken
    #[arg(long, default_value_t = 15)]
    steps: usize,
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
}

fn set(device: &wgpu::Device, elements: usize, tensors: usize) -> Result<ParamSet> {
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    for number in 0..tensors {
        builder.tensor(format!("tensor {number}"), [(elements / tensors / 16).max(1), 16], group);
    }
    Ok(builder.build(device)?)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let universe = mpi::initialize().context("MPI does not start")?;
    let world = universe.world();
    let ranks = world.size() as usize;
    let adapter::Opened { device, queue, adapter } = adapter::choose(arguments.adapter.as_deref())?;
    for elements in &arguments.elements {
        let all = set(&device, *elements, arguments.tensors)?;
        let options = Options::default();
        let mut sharded = ShardedOptimizer::new(
            &world,
            &device,
            &queue,
            &all,
            [Adam::adamw()],
            &options,
            &Sharding::default(),
        )?;
        // One device's step of as many parameters as a share has.
        let share = set(&device, elements / ranks, arguments.tensors)?;
        let mut alone = Optimizer::new(&device, &queue, &share, [Adam::adamw()])?;
        let wait = || device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ());
        let bytes = 4 * all.elements();
        let there = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let back = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut host = vec![0u32; bytes as usize / 4];
        let mut times = [const { Vec::new() }; 9];
        for _ in 0..arguments.steps + 3 {
            world.barrier();
            sharded.step()?;
            let timings = sharded.timings();
            let own = [timings.download, timings.reduce, timings.step, timings.gather, timings.upload];
            // The bytes of the gradients down, as they are.
            world.barrier();
            let start = Instant::now();
            let mut encoder = device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&there, 0, &back, 0, bytes);
            queue.submit([encoder.finish()]);
            back.map_async(wgpu::MapMode::Read, .., |_| ());
            wait()?;
            host.copy_from_slice(bytemuck::cast_slice(&back.get_mapped_range(..)?));
            back.unmap();
            let down = start.elapsed();
            // And what the others update up.
            world.barrier();
            let start = Instant::now();
            let others = host.len() - host.len() / ranks;
            queue.write_buffer(&there, 0, bytemuck::cast_slice(&host[..others]));
            queue.submit([]);
            let up = start.elapsed();
            wait()?;
            // And the reduced gradients of the share.
            world.barrier();
            let start = Instant::now();
            queue.write_buffer(&there, 0, bytemuck::cast_slice(&host[..host.len() / ranks]));
            queue.submit([]);
            wait()?;
            let share_up = start.elapsed();
            world.barrier();
            let start = Instant::now();
            let mut encoder = device.create_command_encoder(&Default::default());
            alone.step(&mut encoder)?;
            queue.submit([encoder.finish()]);
            wait()?;
            let alone = start.elapsed();
            let all = own.into_iter().chain([down, up, share_up, alone]);
            times.iter_mut().zip(all).for_each(|(times, time)| times.push(time.as_secs_f64() * 1e3));
        }
        let medians = times.map(|times| median(times[3..].to_vec()));
        let [download, reduce, step, gather, upload, down, up, share_up, alone] = medians;
        if world.rank() == 0 {
            let state = sharded.state_bytes();
            let adapter = adapter::describe(&adapter);
            println!(
                "{}",
                serde_json::json!({
                    "adapter": adapter, "ranks": ranks, "elements": all.elements(), "state_bytes": state,
                    "download_ms": download, "reduce_ms": reduce, "step_ms": step, "gather_ms": gather,
                    "upload_ms": upload, "copy_down_ms": down, "copy_up_ms": up, "copy_share_up_ms": share_up, "one_device_step_ms": alone,
                })
            );
        }
    }
    Ok(())
}
