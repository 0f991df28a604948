//! A multilayer perceptron whose kernels read parameters from, and write gradients into, the arenas of a
//! [`ParamSet`]. Nothing here knows which optimizer follows.

use crate::data::{Data, Images};
use crate::kernels::Binding::{Read, Write};
use crate::kernels::{Batch, Kernel, Maker, Rows, records, upload, zeros};
use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use wgpu::{BufferUsages, CommandEncoder, ComputePass};
use wgpu_optim::{GroupId, ParamSet, TensorId, wgpu};

/// Units of the hidden layers.
pub const HIDDEN: [usize; 2] = [128, 64];
/// Storage buffers that the largest kernel binds.
const STORAGE_BUFFERS: u32 = 5;
/// Samples of a batch of the test, at least.
const TEST_BATCH: usize = 256;

/// A layer: `y = x w^T + b`, and `max(y, 0)` in hidden ones.
#[derive(Debug)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: TensorId,
    bias: TensorId,
}

/// Loss and right answers over some batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples whose largest logit is at their label.
    pub accuracy: f64,
}

/// The network, the data on the GPU, and the kernels that bring them together.
#[derive(Debug)]
pub struct Network {
    pub params: ParamSet,
    /// Weights, biases.
    pub groups: [GroupId; 2],
    /// Layer by layer.
    layers: Vec<Layer>,
    /// Batches to train on, then batches of the test.
    batches: Vec<Batch>,
    train_batches: usize,
    /// Bytes from a batch's record to the next.
    stride: usize,
    forward: Vec<Kernel>,
    backward: Vec<Kernel>,
    order: wgpu::Buffer,
    losses: wgpu::Buffer,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Network {
    /// Uploads `data` and builds the network, for batches of up to `batch` samples.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        data: &Data,
        hidden: &[usize],
        batch: usize,
    ) -> Result<Self> {
        let limits = device.limits();
        let buffers = limits.max_storage_buffers_per_shader_stage;
        ensure!(
            buffers >= STORAGE_BUFFERS,
            "the network binds {STORAGE_BUFFERS} storage buffers, but this adapter allows {buffers}"
        );
        // Rows of activations are read as vec4; inputs behind the image are 0, and so are their gradients.
        let mut sizes = vec![data.train.size.next_multiple_of(4)];
        sizes.extend(hidden.iter().map(|units| units.next_multiple_of(4)));
        sizes.push(data.classes);

        let mut params = ParamSet::builder();
        params.label("perceptron");
        let (weights, biases) = (params.group("weights"), params.group("biases"));
        let mut layers = vec![];
        for (number, pair) in (1..).zip(sizes.windows(2)) {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weight = params.tensor(format!("layer{number}.weight"), [outputs, inputs], weights);
            let bias = params.tensor(format!("layer{number}.bias"), [outputs], biases);
            layers.push(Layer { inputs, outputs, weight, bias });
        }
        let params = params.build(device)?;

        let mut batches = cut(0..data.train.len(), batch);
        let train_batches = batches.len();
        batches.extend(cut(data.train.len()..data.train.len() + data.test.len(), batch.max(TEST_BATCH)));
        (0..).zip(&mut batches).for_each(|(slot, batch)| batch.slot = slot);
        let samples = batches.iter().map(|batch| batch.count).max().unwrap_or(0);
        // Kernels make blocks of four samples.
        let samples = samples.next_multiple_of(4) as usize;
        let stride = limits.min_uniform_buffer_offset_alignment as usize;
        let stride = stride.max(size_of::<Batch>());

        let storage = BufferUsages::STORAGE;
        let labels: Vec<u32> = data.train.labels.iter().chain(&data.test.labels).map(|&l| l.into()).collect();
        let order: Vec<u32> = (0..labels.len() as u32).collect();
        let pixels = upload(device, "pixels", storage, &padded([&data.train, &data.test], sizes[0]))?;
        let labels = upload(device, "labels", storage, bytemuck::cast_slice(&labels))?;
        let order = upload(device, "order", storage | BufferUsages::COPY_DST, bytemuck::cast_slice(&order))?;
        let records = upload(device, "batches", BufferUsages::UNIFORM, &records(&batches, stride))?;
        let losses = zeros(device, "losses", 2 * batches.len())?;
        let matrix = |label: &'static str| {
            move |&size: &usize| zeros(device, label, samples * size.next_multiple_of(4))
        };
        let x: Vec<_> = sizes.iter().map(matrix("activations")).collect::<Result<_>>()?;
        // d_x[l] belongs to x[l + 1]: nobody asks for the gradient of the images.
        let d_x: Vec<_> = sizes[1..].iter().map(matrix("deltas")).collect::<Result<_>>()?;

        let maker = Maker { device, batches: &records };
        let mut forward = vec![maker.kernel(
            ("gather", include_str!("gather.wgsl")),
            &[("inputs", sizes[0] as f64), ("white", data.white.into())],
            &[Read(pixels.slice(..)), Read(order.slice(..)), Write(x[0].slice(..))],
            (Rows::Samples(1), quads(sizes[0])),
        )];
        let mut backward = vec![];
        for (l, layer) in layers.iter().enumerate() {
            let shape = [("inputs", layer.inputs as f64), ("outputs", layer.outputs as f64)];
            let hidden = ("hidden", f64::from(u8::from(l + 1 < layers.len())));
            forward.push(maker.kernel(
                ("forward", include_str!("forward.wgsl")),
                &[shape[0], shape[1], hidden],
                &[
                    Read(x[l].slice(..)),
                    Read(params.param(layer.weight)?),
                    Read(params.param(layer.bias)?),
                    Write(x[l + 1].slice(..)),
                ],
                (Rows::Samples(4), quads(layer.outputs)),
            ));
            backward.push(maker.kernel(
                ("backward, weights", include_str!("backward_weights.wgsl")),
                &shape,
                &[
                    Read(d_x[l].slice(..)),
                    Read(x[l].slice(..)),
                    Write(params.grad(layer.weight)?),
                    Write(params.grad(layer.bias)?),
                ],
                (Rows::Fixed(quads(layer.outputs)), quads(layer.inputs)),
            ));
            if l > 0 {
                backward.push(maker.kernel(
                    ("backward, inputs", include_str!("backward_inputs.wgsl")),
                    &shape,
                    &[
                        Read(d_x[l].slice(..)),
                        Read(params.param(layer.weight)?),
                        Read(x[l].slice(..)),
                        Write(d_x[l - 1].slice(..)),
                    ],
                    (Rows::Samples(4), quads(layer.inputs)),
                ));
            }
        }
        forward.push(maker.kernel(
            ("loss", include_str!("loss.wgsl")),
            &[("outputs", data.classes as f64)],
            &[
                Read(x[layers.len()].slice(..)),
                Read(labels.slice(..)),
                Read(order.slice(..)),
                Write(d_x[layers.len() - 1].slice(..)),
                Write(losses.slice(..)),
            ],
            // One workgroup sums over all samples.
            (Rows::Fixed(1), 1),
        ));
        // From the last layer to the first.
        backward.reverse();
        let (device, queue) = (device.clone(), queue.clone());
        Ok(Self {
            params,
            groups: [weights, biases],
            layers,
            batches,
            train_batches,
            stride,
            forward,
            backward,
            order,
            losses,
            device,
            queue,
        })
    }

    /// Units of each layer: `64-128-64-10`.
    pub fn shape(&self) -> String {
        let outputs = self.layers.iter().map(|layer| layer.outputs.to_string());
        let inputs = self.layers.first().map(|layer| layer.inputs.to_string());
        inputs.into_iter().chain(outputs).collect::<Vec<_>>().join("-")
    }

    /// Draws new parameters: weights uniform within He's bound, sqrt(6 / inputs); biases 0.
    pub fn initialise(&self, rng: &mut ChaCha8Rng) -> Result<()> {
        for layer in &self.layers {
            let bound = (6.0 / layer.inputs as f32).sqrt();
            let weight: Vec<f32> =
                (0..layer.inputs * layer.outputs).map(|_| rng.random_range(-bound..bound)).collect();
            self.params.write_param(&self.queue, layer.weight, &weight)?;
            self.params.write_param(&self.queue, layer.bias, &vec![0.0; layer.outputs])?;
        }
        Ok(())
    }

    /// The samples to train on, unshuffled.
    pub fn train_order(&self) -> Vec<u32> {
        let count: u32 = self.batches[..self.train_batches].iter().map(|batch| batch.count).sum();
        (0..count).collect()
    }

    /// Sets the order in which the samples to train on are cut into batches, from the next submit on.
    pub fn reorder(&self, order: &[u32]) {
        self.queue.write_buffer(&self.order, 0, bytemuck::cast_slice(order));
    }

    /// Batches in an epoch.
    pub fn train_batches(&self) -> usize {
        self.train_batches
    }

    /// Records the loss of batch `batch` and the gradients of all parameters.
    pub fn record_gradients(&self, pass: &mut ComputePass<'_>, batch: usize) {
        self.record(pass, batch, self.forward.iter().chain(&self.backward));
    }

    fn record<'a>(
        &self,
        pass: &mut ComputePass<'_>,
        batch: usize,
        kernels: impl Iterator<Item = &'a Kernel>,
    ) {
        for kernel in kernels {
            kernel.record(pass, self.batches[batch], (batch * self.stride) as u32);
        }
    }

    /// Reads the losses of the last epoch's batches, in order; waits for them.
    pub fn train_losses(&self) -> Result<Vec<f64>> {
        let losses = self.read_losses(0..self.train_batches)?;
        let counts = &self.batches[..self.train_batches];
        Ok(losses
            .iter()
            .zip(counts)
            .map(|(loss, batch)| f64::from(loss[0]) / f64::from(batch.count))
            .collect())
    }

    /// Runs the test samples through the network; waits for the result.
    pub fn test(&self) -> Result<Score> {
        let batches = self.train_batches..self.batches.len();
        let mut encoder = self.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        batches.clone().for_each(|batch| self.record(&mut pass, batch, self.forward.iter()));
        drop(pass);
        self.queue.submit([encoder.finish()]);
        let count: u32 = self.batches[batches.clone()].iter().map(|batch| batch.count).sum();
        let losses = self.read_losses(batches)?;
        let mean = |i: usize| losses.iter().map(|sums| f64::from(sums[i])).sum::<f64>() / f64::from(count);
        Ok(Score { loss: mean(0), accuracy: mean(1) })
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub fn submit(&self, encoder: CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// Reads (sum of losses, number right) of some batches, after all that was submitted.
    fn read_losses(&self, batches: Range<usize>) -> Result<Vec<[f32; 2]>> {
        let bytes = |count: usize| (count * size_of::<[f32; 2]>()) as u64;
        let size = bytes(batches.len());
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("losses, to be read"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(&self.losses, bytes(batches.start), &staging, 0, size);
        self.submit(encoder);
        // If the mapping fails, so does the range below.
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely()).context("the device was lost")?;
        let view = staging.get_mapped_range(..).context("the device was lost")?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

/// vec4 in a row of `size` elements.
fn quads(size: usize) -> u32 {
    size.div_ceil(4) as u32
}

/// Cuts samples into batches of `size`; the last one may be smaller.
fn cut(samples: Range<usize>, size: usize) -> Vec<Batch> {
    let count = |start| size.min(samples.end - start) as u32;
    samples
        .clone()
        .step_by(size)
        .map(|start| Batch { start: start as u32, count: count(start), slot: 0, reserved: 0 })
        .collect()
}

/// All images with rows of `width` pixels, zeros behind the image.
fn padded(parts: [&Images; 2], width: usize) -> Vec<u8> {
    let mut bytes = vec![];
    for part in parts {
        for image in part.pixels.chunks_exact(part.size) {
            bytes.extend(image);
            bytes.resize(bytes.len() + width - part.size, 0);
        }
    }
    bytes
}
