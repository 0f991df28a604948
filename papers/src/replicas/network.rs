//! The perceptron's kernels: gradients and losses of all replicas in a few dispatches.

use super::{BATCH, Digits, Task};
use crate::harness::gpu::Binding::{Read, Write};
use crate::harness::gpu::{Binding, Gpu, Kernel};
use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu::{BufferSlice, ComputePass};
use wgpu_optim::wgpu;

const PIXELS: usize = 64;
const CLASSES: usize = 10;
/// Invocations of a kernel's workgroup.
const WORKGROUP: usize = 64;

/// A layer, and its place in a replica's parameters.
#[derive(Debug, Clone, Copy)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weights_at: usize,
    biases_at: usize,
}

/// A replica's parameters: weights and biases, layer by layer.
#[derive(Debug, Clone)]
pub struct Layout {
    layers: Vec<Layer>,
    pub parameters: usize,
    /// From a replica's parameters to the next one's, which start where a storage binding may.
    pub stride: usize,
}

impl Layout {
    pub fn new(task: &Task) -> Self {
        let mut sizes = vec![PIXELS];
        sizes.extend(vec![task.units; task.layers]);
        sizes.push(CLASSES);
        let mut parameters = 0;
        let layers = sizes.windows(2).map(|pair| {
            let (inputs, outputs, weights_at) = (pair[0], pair[1], parameters);
            let biases_at = weights_at + inputs * outputs;
            parameters = biases_at + outputs;
            Layer { inputs, outputs, weights_at, biases_at }
        });
        let layers = layers.collect();
        Self { layers, parameters, stride: parameters.next_multiple_of(64) }
    }

    /// The first parameters of a seed: weights uniform within He's bound, sqrt(6 / inputs); biases 0.
    pub fn first(&self, seed: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        rng.set_stream(1);
        let mut values = vec![0.0; self.stride];
        for layer in &self.layers {
            let bound = (6.0 / layer.inputs as f32).sqrt();
            for weight in &mut values[layer.weights_at..layer.biases_at] {
                *weight = rng.random_range(-bound..bound);
            }
        }
        values
    }
}

/// All kernels, and in which order a step and a batch of a test run them.
#[derive(Debug)]
pub struct Network {
    dispatches: Vec<(Kernel, u32)>,
    step: Vec<usize>,
    test: Vec<usize>,
    /// Batches of a test.
    chunks: usize,
}

/// `replicas_shape.wgsl`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    replicas: u32,
    seeds: u32,
    first_seed: u32,
    stride: u32,
    inputs: u32,
    outputs: u32,
    weights_at: u32,
    biases_at: u32,
    first: u32,
    hidden: u32,
    samples: u32,
    held_out: u32,
    test: u32,
    every: u32,
}

/// What the kernels read and write.
pub struct Arenas<'a> {
    pub replicas: usize,
    pub params: &'a wgpu::Buffer,
    pub grads: &'a wgpu::Buffer,
    /// (sum of losses, right answers) of \[record, replica\], of training batches and of tests.
    pub train_records: &'a wgpu::Buffer,
    pub test_records: &'a wgpu::Buffer,
}

impl Network {
    pub fn new(
        gpu: &Gpu,
        digits: &Digits,
        task: &Task,
        layout: &Layout,
        arenas: &Arenas<'_>,
    ) -> Result<Self> {
        let replicas = arenas.replicas;
        let matrix = |label: &'static str| {
            move |layer: &Layer| gpu.storage(label, replicas * BATCH * layer.outputs.next_multiple_of(4))
        };
        let chunks = digits.test.div_ceil(BATCH);
        // x[l] comes out of layer l, d_x[l] is the loss' gradient with respect to it.
        let maker = Maker {
            gpu,
            digits,
            task,
            layout,
            arenas,
            chunks,
            images: gpu.storage("batches", task.seeds * BATCH * PIXELS),
            labels: gpu.storage("labels of the batches", task.seeds * BATCH),
            x: layout.layers.iter().map(matrix("activations")).collect(),
            d_x: layout.layers.iter().map(matrix("deltas")).collect(),
        };
        let count = layout.layers.len();
        // Training's and the test's batch and loss, the layers forwards, the layers backwards.
        let mut dispatches =
            vec![maker.gather(false)?, maker.gather(true)?, maker.loss(false)?, maker.loss(true)?];
        for l in 0..count {
            dispatches.push(maker.forward(l)?);
        }
        for l in (0..count).rev() {
            dispatches.push(maker.backward_weights(l)?);
            if l > 0 {
                dispatches.push(maker.backward_inputs(l)?);
            }
        }
        let (forward, backward) = (4..4 + count, 4 + count..dispatches.len());
        let test = [1].into_iter().chain(forward.clone()).chain([3]).collect();
        let step = [0].into_iter().chain(forward).chain([2]).chain(backward).collect();
        Ok(Self { dispatches, step, test, chunks })
    }

    /// Records losses and gradients of step `t`.
    pub fn record_step(&self, pass: &mut ComputePass<'_>, t: u32) {
        self.record(pass, &self.step, t);
    }

    /// Records test number `number`, into the record of that number.
    pub fn record_test(&self, pass: &mut ComputePass<'_>, number: usize) {
        for chunk in number * self.chunks..(number + 1) * self.chunks {
            self.record(pass, &self.test, chunk as u32);
        }
    }

    fn record(&self, pass: &mut ComputePass<'_>, order: &[usize], t: u32) {
        for (kernel, groups) in order.iter().map(|number| &self.dispatches[*number]) {
            kernel.record(pass, t, *groups);
        }
    }
}

struct Maker<'a> {
    gpu: &'a Gpu,
    digits: &'a Digits,
    task: &'a Task,
    layout: &'a Layout,
    arenas: &'a Arenas<'a>,
    chunks: usize,
    images: wgpu::Buffer,
    labels: wgpu::Buffer,
    x: Vec<wgpu::Buffer>,
    d_x: Vec<wgpu::Buffer>,
}

/// Blocks of an invocation of the layers' kernels.
fn blocks(size: usize) -> usize {
    size.div_ceil(8)
}

macro_rules! source {
    ($name:literal) => {
        ($name, concat!(include_str!("shape.wgsl"), include_str!(concat!($name, ".wgsl"))))
    };
}

impl Maker<'_> {
    /// What layer `l` reads.
    fn input(&self, l: usize) -> BufferSlice<'_> {
        if l == 0 { self.images.slice(..) } else { self.x[l - 1].slice(..) }
    }

    /// A kernel and its workgroups.
    fn kernel(
        &self,
        (label, source): (&str, &str),
        shape: Shape,
        bindings: &[Binding<'_>],
        invocations: usize,
    ) -> Result<(Kernel, u32)> {
        let shape = self.gpu.upload("shape", &[shape]);
        let bindings = [&[Read(shape.slice(..))], bindings].concat();
        Ok((self.gpu.kernel(label, source, &bindings)?, invocations.div_ceil(WORKGROUP) as u32))
    }

    fn shape(&self) -> Shape {
        Shape {
            replicas: self.arenas.replicas as u32,
            seeds: self.task.seeds as u32,
            first_seed: self.task.first_seed as u32,
            stride: self.layout.stride as u32 / 4,
            samples: self.digits.train as u32,
            held_out: self.digits.test as u32,
            ..Shape::default()
        }
    }

    /// Of kernels that deal with batches.
    fn batches(&self, test: bool) -> Shape {
        let every = if test { self.chunks } else { self.task.every };
        Shape { test: test.into(), every: every as u32, ..self.shape() }
    }

    /// Of kernels that deal with layer `l`.
    fn layer(&self, l: usize) -> Shape {
        let layer = &self.layout.layers[l];
        Shape {
            inputs: layer.inputs as u32,
            outputs: layer.outputs as u32,
            weights_at: layer.weights_at as u32,
            biases_at: layer.biases_at as u32,
            first: (l == 0).into(),
            hidden: (l + 1 < self.x.len()).into(),
            ..self.shape()
        }
    }

    fn gather(&self, test: bool) -> Result<(Kernel, u32)> {
        let bindings = [
            Read(self.digits.pixels.slice(..)),
            Read(self.digits.labels.slice(..)),
            Write(self.images.slice(..)),
            Write(self.labels.slice(..)),
        ];
        self.kernel(source!("gather"), self.batches(test), &bindings, self.task.seeds * BATCH)
    }

    fn loss(&self, test: bool) -> Result<(Kernel, u32)> {
        let records = if test { self.arenas.test_records } else { self.arenas.train_records };
        let last = self.x.len() - 1;
        let bindings = [
            Read(self.labels.slice(..)),
            Read(self.x[last].slice(..)),
            Write(self.d_x[last].slice(..)),
            Write(records.slice(..)),
        ];
        // A workgroup for each replica.
        self.kernel(source!("loss"), self.batches(test), &bindings, WORKGROUP * self.arenas.replicas)
    }

    fn forward(&self, l: usize) -> Result<(Kernel, u32)> {
        let bindings = [Read(self.input(l)), Read(self.arenas.params.slice(..)), Write(self.x[l].slice(..))];
        let invocations = self.arenas.replicas * blocks(BATCH) * blocks(self.layout.layers[l].outputs);
        self.kernel(source!("forward"), self.layer(l), &bindings, invocations)
    }

    fn backward_weights(&self, l: usize) -> Result<(Kernel, u32)> {
        let layer = &self.layout.layers[l];
        let bindings = [Read(self.d_x[l].slice(..)), Read(self.input(l)), Write(self.arenas.grads.slice(..))];
        let invocations = self.arenas.replicas * blocks(layer.inputs) * blocks(layer.outputs);
        self.kernel(source!("backward_weights"), self.layer(l), &bindings, invocations)
    }

    fn backward_inputs(&self, l: usize) -> Result<(Kernel, u32)> {
        let bindings = [
            Read(self.d_x[l].slice(..)),
            Read(self.arenas.params.slice(..)),
            Read(self.x[l - 1].slice(..)),
            Write(self.d_x[l - 1].slice(..)),
        ];
        let invocations = self.arenas.replicas * blocks(BATCH) * blocks(self.layout.layers[l].inputs);
        self.kernel(source!("backward_inputs"), self.layer(l), &bindings, invocations)
    }
}
