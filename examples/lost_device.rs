//! A device is lost in mid-run, as browsers and laptops do, and the run goes on on another: with the bits of one that never
//! stopped.
//!
//! ```text
//! cargo run --release --example lost_device
//! ```

#[path = "support/adapter.rs"]
mod adapter;

use anyhow::{Context, Result, ensure};
use wgpu_optim::rules::NAdam;
use wgpu_optim::wgpu;
use wgpu_optim::{Error, Optimizer, OptimizerState, ParamSet, Snapshots, TensorId};

const STEPS: u64 = 40;
/// Steps between two snapshots: what a loss may cost.
const EVERY: u64 = 8;

/// What lives on a device.
struct Run {
    device: wgpu::Device,
    queue: wgpu::Queue,
    params: ParamSet,
    weight: TensorId,
    optimizer: Optimizer<NAdam>,
}

impl Run {
    fn new() -> Result<Self> {
        let opened = adapter::choose(None)?;
        let mut params = ParamSet::builder();
        let all = params.group("all");
        let weight = params.tensor("weight", [64, 32], all);
        let params = params.build(&opened.device)?;
        let optimizer = Optimizer::new(&opened.device, &opened.queue, &params, [NAdam::default()])?;
        Ok(Self { device: opened.device, queue: opened.queue, params, weight, optimizer })
    }

    /// A step whose gradient depends on its number, as a data loader that can be wound gives it.
    fn step(&mut self, number: u64, snapshots: &mut Snapshots) -> Result<(), Error> {
        let gradient: Vec<f32> = (0..64 * 32).map(|i| ((i as u64 * 7 + number) as f32).sin()).collect();
        self.params.write_grad(&self.queue, self.weight, &gradient)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder)?;
        snapshots.record(&self.optimizer, &self.params, &mut encoder)?;
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn weight(&self) -> Result<Vec<f32>, Error> {
        self.params.read_param_blocking(&self.queue, self.weight)
    }

    /// Goes on from a snapshot; the number of the next step.
    fn resume(&mut self, snapshot: &OptimizerState) -> Result<u64, Error> {
        self.params.load_params(&self.queue, snapshot)?;
        self.optimizer.load_state(snapshot)?;
        Ok(self.optimizer.steps())
    }
}

fn main() -> Result<()> {
    let mut whole = Run::new()?;
    for number in 0..STEPS {
        whole.step(number, &mut Snapshots::every(STEPS))?;
    }

    let mut run = Run::new()?;
    let mut snapshots = Snapshots::every(EVERY);
    let (mut number, mut lost) = (0, false);
    while number < STEPS {
        if number == 21 && !lost {
            println!("step {number}: the device is lost");
            run.device.destroy();
            lost = true;
        }
        match run.step(number, &mut snapshots) {
            Ok(()) => number += 1,
            Err(Error::DeviceLost { .. }) => {
                // Everything that was on the device is made again on another; the host has the rest.
                run = Run::new()?;
                let snapshot = snapshots.latest().context("no snapshot has arrived yet")?;
                number = run.resume(snapshot)?;
                println!("goes on from step {number} on another device");
            }
            Err(other) => return Err(other.into()),
        }
    }
    ensure!(run.weight()? == whole.weight()?, "the run ended with other weights than one that never stopped");
    println!("{STEPS} steps: the weights of a run that never stopped, bit for bit");
    Ok(())
}
