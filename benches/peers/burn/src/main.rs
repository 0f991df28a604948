//! AdamW of burn and of wgpu-optim in turns, on the same device, for `bench --peers`:
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/burn/Cargo.toml -- --json burn.json
//! make bench PEERS=burn.json
//! ```
//!
//! A step is timed by the wall from its call until the device has done it: burn launches its kernels from inside the
//! call, and hands out no place for timestamps. Both move the same bytes: parameters, gradients and two slots.

use anyhow::{Context, Result, anyhow};
use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;
use wgpu_optim::rules::Adam;
use wgpu_optim::{Optimizer, Packing, ParamSet};

/// Parameters and tensors, as in the project's notes on burn.
const CASES: [(usize, usize); 6] = [
    (8_388_608, 1),
    (8_388_608, 148),
    (8_388_608, 1000),
    (1_000_000, 1000),
    (100_000_000, 148),
    (1_000_000, 148),
];
const ROUNDS: usize = 9;
/// Steps before them: pipelines are made, memory is found.
const WARM_UP: usize = 3;

/// AdamW of burn and of wgpu-optim in turns, on one device
#[derive(Parser)]
struct Arguments {
    /// The file to write
    #[arg(long)]
    json: PathBuf,
    /// Leave out what is larger
    #[arg(long, default_value_t = 10_000_000)]
    most: usize,
}

#[derive(Serialize)]
struct File {
    version: u32,
    rows: Vec<Row>,
}

/// A row of a peer file, as benches/src/document.rs reads it.
#[derive(Serialize, Clone)]
struct Row {
    library: String,
    variant: String,
    optimizer: String,
    device: String,
    parameters: u64,
    tensors: usize,
    groups: usize,
    gpu_s: Option<f64>,
    wall_s: Option<f64>,
}

#[derive(Module, Debug)]
struct Parameters {
    tensors: Vec<Param<Tensor<1>>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut file = File { version: 1, rows: vec![] };
    // A file that cannot be written is known before anything takes time.
    keep(&arguments.json, &file)?;
    let (device, setup) =
        Device::wgpu_options().init_with_setup().map_err(|error| anyhow!("burn has no device: {error:?}"))?;
    let info = setup.adapter.get_info();
    for (parameters, tensors) in CASES.into_iter().filter(|(parameters, _)| *parameters <= arguments.most) {
        let mut theirs = Theirs::new(&device, parameters, tensors);
        let mut ours = match Ours::new(&setup.device, &setup.queue, parameters, tensors) {
            Ok(ours) => ours,
            Err(error) => {
                eprintln!("{parameters} in {tensors} tensors: {error:#}");
                continue;
            }
        };
        let (mut of_theirs, mut of_ours) = (vec![], vec![]);
        for round in 0..WARM_UP + ROUNDS {
            let (their, our) = (theirs.step(&device)?, ours.step()?);
            if round >= WARM_UP {
                of_theirs.push(their);
                of_ours.push(our);
            }
        }
        let row = |library: &str, variant: &str, times: &mut Vec<f64>| Row {
            library: library.into(),
            variant: variant.into(),
            optimizer: "adamw".into(),
            device: info.name.clone(),
            parameters: parameters as u64,
            tensors,
            groups: 1,
            gpu_s: None,
            wall_s: Some(median(times)),
        };
        let their = row("burn 0.22.1", "fusion", &mut of_theirs);
        let our = row(&format!("wgpu-optim {}", wgpu_optim::VERSION), "in turns with burn", &mut of_ours);
        let seconds = |row: &Row| row.wall_s.unwrap_or(f64::NAN);
        println!(
            "{parameters:>11} in {tensors:>5} tensors: burn {:9.3} ms, ours {:9.3} ms, {:.2} times as fast",
            seconds(&their) * 1e3,
            seconds(&our) * 1e3,
            seconds(&their) / seconds(&our)
        );
        file.rows.extend([their, our]);
        keep(&arguments.json, &file)?;
    }
    Ok(())
}

fn keep(path: &Path, file: &File) -> Result<()> {
    let text = serde_json::to_string_pretty(file)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Elements of each of `tensors` equal tensors.
fn length(parameters: usize, tensors: usize, i: usize) -> usize {
    parameters * (i + 1) / tensors - parameters * i / tensors
}

/// burn's module, its gradients and its optimizer.
struct Theirs {
    module: Option<Parameters>,
    gradients: Vec<Tensor<1>>,
    optimizer: ModuleOptimizer,
}

impl Theirs {
    fn new(device: &Device, parameters: usize, tensors: usize) -> Self {
        let device = device.clone().autodiff();
        let random =
            |i| Tensor::<1>::random([length(parameters, tensors, i)], Distribution::Default, &device);
        let parameter = |i| Param::initialized(ParamId::new(), random(i).require_grad());
        Self {
            module: Some(Parameters { tensors: (0..tensors).map(parameter).collect() }),
            gradients: (0..tensors).map(|i| random(i).inner()).collect(),
            optimizer: AdamWConfig::new().init(),
        }
    }

    /// Seconds of a step.
    fn step(&mut self, device: &Device) -> Result<f64> {
        let module = self.module.take().context("a step failed")?;
        let mut gradients = GradientsParams::new();
        for (parameter, gradient) in module.tensors.iter().zip(&self.gradients) {
            gradients.register(parameter.id, gradient.clone());
        }
        synchronize(device)?;
        let start = Instant::now();
        let module = self.optimizer.step(1e-3, module, gradients);
        synchronize(device)?;
        self.module = Some(module);
        Ok(start.elapsed().as_secs_f64())
    }
}

fn synchronize(device: &Device) -> Result<()> {
    device.sync().map_err(|error| anyhow!("burn: {error:?}"))
}

/// The same tensors, in an arena of ours.
struct Ours<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    optimizer: Optimizer<Adam>,
    /// Keeps the memory that the optimizer works on.
    _params: ParamSet,
}

impl<'a> Ours<'a> {
    fn new(
        device: &'a wgpu::Device,
        queue: &'a wgpu::Queue,
        parameters: usize,
        tensors: usize,
    ) -> Result<Self> {
        let mut builder = ParamSet::builder();
        builder.packing(Packing::Bindable);
        let group = builder.group("all");
        for i in 0..tensors {
            builder.tensor(format!("tensor {i}"), [length(parameters, tensors, i)], group);
        }
        let params = builder.build(device)?;
        for tensor in params.tensors() {
            let id = params.find(&tensor.name).context("a tensor")?;
            // Any numbers but zeros, whose arithmetic some processors cut short.
            let numbers: Vec<f32> =
                (0..tensor.shape.iter().product::<usize>()).map(|i| (i % 1021 + 1) as f32 / 1024.0).collect();
            params.write_param(queue, id, &numbers)?;
            params.write_grad(queue, id, &numbers)?;
        }
        let optimizer = Optimizer::new(device, queue, &params, [Adam::adamw()])?;
        Ok(Self { device, queue, optimizer, _params: params })
    }

    /// Seconds of a step.
    fn step(&mut self) -> Result<f64> {
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder)?;
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(start.elapsed().as_secs_f64())
    }
}
