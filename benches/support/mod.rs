//! Measuring on machines that are shared and noisy: everything that is compared runs in turns in one
//! process, and only ratios are reported.

#![allow(dead_code)] // each bench uses its share

#[path = "../../examples/support/adapter.rs"]
mod adapter;

use adapter::Opened;
use std::time::Instant;
use wgpu_optim::wgpu;

/// The device that is measured.
pub struct Bench {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Bench {
    /// Opens the first adapter whose name or backend contains `WGPU_OPTIM_ADAPTER`, and says which.
    pub fn open() -> Option<Self> {
        let wanted = std::env::var("WGPU_OPTIM_ADAPTER").unwrap_or_default();
        let Opened { adapter, device, queue } =
            adapter::choose(Some(&wanted)).map_err(|error| eprintln!("{error}")).ok()?;
        println!("adapter: {}", adapter::describe(&adapter));
        if adapter::is_software(&adapter) {
            println!("this is a software adapter: the ratios say nothing about a GPU");
        }
        Some(Self { device, queue })
    }

    pub fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    /// Submits and waits.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device");
    }

    /// Seconds that each of `count` candidates takes, in `rounds` rounds in turns, after two rounds of
    /// warm-up. `record` records candidate `i`.
    pub fn in_turns(
        &self,
        rounds: usize,
        count: usize,
        mut record: impl FnMut(usize, &mut wgpu::CommandEncoder),
    ) -> Vec<Vec<f64>> {
        let mut times = vec![vec![]; count];
        for round in 0..rounds + 2 {
            for (which, times) in times.iter_mut().enumerate() {
                let start = Instant::now();
                let mut encoder = self.device.create_command_encoder(&Default::default());
                record(which, &mut encoder);
                self.submit(encoder);
                if round >= 2 {
                    times.push(start.elapsed().as_secs_f64());
                }
            }
        }
        times
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the median and the quartiles of `a / b` over the rounds.
pub fn ratio(what: &str, a: &[f64], b: &[f64], bound: &str) {
    let mut ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
    println!("  {what:52} {:.3}  [{:.3}, {:.3}]  ({bound})", at(0.5), at(0.25), at(0.75));
}
