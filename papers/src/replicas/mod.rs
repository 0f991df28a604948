//! Many copies of one small perceptron, trained on handwritten digits all at once: for each setting of an
//! optimizer and each seed one replica. Gradients of all replicas are a few dispatches, and all settings of a
//! rule are groups of one parameter set, stepped by one more.
//!
//! A seed decides on first parameters and batches; all settings see the same ones.

mod history;
mod network;
mod probes;

pub use history::{History, bootstrap, curve, mean_of, paired, window};
pub use probes::{Counts, Histogram, Kind, Moves};

use crate::data::{Data, Images};
use crate::harness::gpu::Gpu;
use anyhow::{Context, Result, ensure};
use network::{Arenas, Layout, Network};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu::{BufferSlice, ComputePass};
use wgpu_optim::{AnyRule, BufferRange, Optimizer, ParamSet, Schedule, TensorId, wgpu};

/// Samples of a step; kernels know it too.
pub const BATCH: usize = 32;
/// Steps of an epoch: as many samples as there are.
pub const EPOCH: usize = 45;
/// Steps recorded into one encoder: so many as [`Optimizer::steps_ahead`](wgpu_optim::Optimizer::steps_ahead) allows, whatever the number of groups.
const STEPS_PER_SUBMIT: usize = 8;

/// The network, and how long it learns.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Hidden layers and their units, a multiple of eight.
    pub layers: usize,
    pub units: usize,
    pub first_seed: usize,
    pub seeds: usize,
    pub steps: usize,
    /// Steps of a record: training loss and accuracy are means over so many.
    pub every: usize,
    /// Steps from one test to the next; the last step always is tested.
    pub test_every: usize,
}

impl Task {
    pub fn records(&self) -> usize {
        self.steps.div_ceil(self.every)
    }

    /// The steps after which there is a test.
    fn tested(&self) -> Vec<usize> {
        (1..=self.steps).filter(|t| t % self.test_every == 0 || *t == self.steps).collect()
    }
}

/// An optimizer, and the share of its rate at each step.
#[derive(Debug, Clone)]
pub struct Setting {
    pub rule: AnyRule,
    pub factor: Schedule,
}

/// The digits on the GPU.
#[derive(Debug)]
pub struct Digits {
    pixels: wgpu::Buffer,
    labels: wgpu::Buffer,
    /// Samples to train on, and behind them those to test.
    pub train: usize,
    pub test: usize,
}

impl Digits {
    /// Pixels from 0 to 1. A fifth, the same in every run, is held out.
    pub fn new(gpu: &Gpu) -> Result<Self> {
        let data = Data::digits(&mut ChaCha8Rng::seed_from_u64(0))?;
        let both = [&data.train, &data.test];
        let value = |pixel: &u8| f32::from(*pixel) / f32::from(data.white);
        let pixels: Vec<f32> = both.iter().flat_map(|images| images.pixels.iter().map(value)).collect();
        let label =
            |images: &&Images| images.labels.iter().map(|label| u32::from(*label)).collect::<Vec<_>>();
        let labels: Vec<u32> = both.iter().flat_map(label).collect();
        Ok(Self {
            pixels: gpu.upload("pixels", &pixels),
            labels: gpu.upload("labels", &labels),
            train: data.train.len(),
            test: data.test.len(),
        })
    }
}

/// One rule's settings: groups of one set, whose tensors lie in the common arenas.
#[derive(Debug)]
struct Method {
    params: ParamSet,
    optimizer: Optimizer<AnyRule>,
    /// One for each group.
    tensors: Vec<TensorId>,
    rates: Vec<(f64, Schedule)>,
}

/// When a measurement is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// There are gradients.
    Before,
    /// The optimizers have made their step.
    After,
}

/// All replicas and what trains them.
#[derive(Debug)]
pub struct Replicas {
    pub task: Task,
    layout: Layout,
    network: Network,
    methods: Vec<Method>,
    /// Of all settings and seeds, \[setting, seed\].
    pub replicas: usize,
    params: wgpu::Buffer,
    grads: wgpu::Buffer,
    train_records: wgpu::Buffer,
    test_records: wgpu::Buffer,
    held_out: usize,
}

impl Replicas {
    /// Replicas for all `settings`, those of one rule behind each other, at their seeds' first parameters.
    pub fn new(gpu: &Gpu, digits: &Digits, task: Task, settings: &[Setting]) -> Result<Self> {
        ensure!(task.units.is_multiple_of(8), "units come in eights");
        let layout = Layout::new(&task);
        let replicas = settings.len() * task.seeds;
        let arena = |label| gpu.storage(label, replicas * layout.stride);
        let (params, grads) = (arena("parameters of all replicas"), arena("gradients of all replicas"));
        let seeds = task.first_seed..task.first_seed + task.seeds;
        let first: Vec<f32> = seeds.flat_map(|seed| layout.first(seed)).collect();
        for setting in 0..settings.len() {
            let at = 4 * (setting * first.len()) as u64;
            gpu.queue.write_buffer(&params, at, bytemuck::cast_slice(&first));
        }
        let records = |label, count: usize| gpu.storage(label, 2 * count * replicas);
        let train_records = records("records of the training", task.records());
        let test_records = records("records of the tests", task.tested().len());
        let arenas = Arenas {
            replicas,
            params: &params,
            grads: &grads,
            train_records: &train_records,
            test_records: &test_records,
        };
        let network = Network::new(gpu, digits, &task, &layout, &arenas)?;
        let methods = methods(gpu, settings, first.len(), &params, &grads)?;
        let held_out = digits.test;
        Ok(Self {
            task,
            layout,
            network,
            methods,
            replicas,
            params,
            grads,
            train_records,
            test_records,
            held_out,
        })
    }

    /// Parameters of one replica.
    pub fn parameters(&self) -> usize {
        self.layout.parameters
    }

    /// Where a slot of setting number `setting` lies, all its seeds, a replica's padding included.
    fn slot(&self, setting: usize, slot: &str) -> Result<BufferSlice<'_>> {
        let all =
            self.methods.iter().flat_map(|method| method.tensors.iter().map(move |tensor| (method, *tensor)));
        let (method, tensor) = all.clone().nth(setting).with_context(|| format!("no setting {setting}"))?;
        let pieces = method.optimizer.slot(tensor, slot)?;
        ensure!(pieces.len() == 1, "slot {slot} of setting {setting} does not fit into one window");
        Ok(pieces[0])
    }

    /// Trains to the end. `measure` is called twice in every step to record what it wants to know; `progress`
    /// now and then with the share that is done.
    pub fn train(
        mut self,
        gpu: &Gpu,
        mut measure: impl FnMut(&mut ComputePass<'_>, u32, When),
        mut progress: impl FnMut(f64),
    ) -> Result<History> {
        let tested = self.task.tested();
        let steps: Vec<usize> = (1..=self.task.steps).collect();
        for chunk in steps.chunks(STEPS_PER_SUBMIT) {
            let mut encoder = gpu.encoder();
            for &t in chunk {
                let mut prepared = vec![];
                for method in &mut self.methods {
                    for (tensor, (lr, factor)) in method.tensors.iter().zip(&method.rates) {
                        let group = method.params.group_of(*tensor)?;
                        method.optimizer.group_mut(group)?.set("lr", lr * factor.at(t as u64))?;
                    }
                    prepared.push(method.optimizer.prepare(&mut encoder)?);
                }
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.network.record_step(&mut pass, t as u32);
                measure(&mut pass, t as u32, When::Before);
                prepared.into_iter().for_each(|step| step.encode(&mut pass));
                measure(&mut pass, t as u32, When::After);
                if let Ok(number) = tested.binary_search(&t) {
                    self.network.record_test(&mut pass, number);
                }
            }
            gpu.submit(encoder);
            progress(chunk[chunk.len() - 1] as f64 / self.task.steps as f64);
        }
        let read = |buffer: &wgpu::Buffer| gpu.read(buffer, 0..buffer.size() as usize / 4);
        Ok(History {
            task: self.task,
            held_out: self.held_out,
            replicas: self.replicas,
            train: read(&self.train_records)?,
            test: read(&self.test_records)?,
            tested,
        })
    }
}

/// An optimizer for each rule.
fn methods(
    gpu: &Gpu,
    settings: &[Setting],
    elements: usize,
    params: &wgpu::Buffer,
    grads: &wgpu::Buffer,
) -> Result<Vec<Method>> {
    let mut methods = vec![];
    let mut at = 0;
    for settings in settings.chunk_by(|a, b| a.rule.name() == b.rule.name()) {
        let mut builder = ParamSet::builder();
        let mut tensors = vec![];
        for (number, setting) in settings.iter().enumerate() {
            let group = builder.group(format!("{} {number}", setting.rule.name()));
            let offset = 4 * (elements * (at + number)) as u64;
            let (param, grad) = (BufferRange::new(params, offset), BufferRange::new(grads, offset));
            tensors.push(builder.external(format!("replicas {number}"), [elements], group, param, grad));
        }
        at += settings.len();
        let set = builder.build(&gpu.device)?;
        let optimizer = Optimizer::new(
            &gpu.device,
            &gpu.queue,
            &set,
            settings.iter().map(|setting| setting.rule.clone()),
        )?;
        let rate = |setting: &Setting| Some((setting.rule.get("lr")?, setting.factor.clone()));
        let rates = settings.iter().map(rate).collect::<Option<_>>().context("every rule here has a rate")?;
        methods.push(Method { params: set, optimizer, tensors, rates });
    }
    Ok(methods)
}
