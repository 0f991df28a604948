//! The device, and what every experiment does with it: buffers, kernels that know the step's number, a queue
//! that does not grow, readings, progress.

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use wgpu::{BufferSlice, BufferUsages, ComputePass};
use wgpu_optim::wgpu;

/// Largest step number that a kernel can be told.
pub const MAX_STEP: u32 = (1 << 18) - 1;
/// Submits that may be under way.
const IN_FLIGHT: usize = 3;
/// Workgroups of a dispatch in x; the others go to y.
const ROW: u32 = 65_535;

/// What a kernel may do with a buffer.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    Read(BufferSlice<'a>),
    Write(BufferSlice<'a>),
}

/// A compute kernel with its bindings.
#[derive(Debug)]
pub struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    stride: u32,
}

impl Kernel {
    /// Dispatches `groups` workgroups for step `t`, up to [`MAX_STEP`]. Above 65535 they are folded into y, with
    /// some to spare: a kernel of so many takes its workgroup's number as `id.x + id.y * 65535`.
    pub fn record(&self, pass: &mut ComputePass<'_>, t: u32, groups: u32) {
        assert!(t <= MAX_STEP, "step {t}, but kernels count to {MAX_STEP}");
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[t * self.stride]);
        pass.dispatch_workgroups(groups.min(ROW), groups.div_ceil(ROW), 1);
    }
}

/// Where experiments are done.
#[derive(Debug)]
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Small sizes, to see that everything works.
    pub quick: bool,
    /// The numbers 0 to [`MAX_STEP`], each where a uniform binding may start.
    steps: wgpu::Buffer,
    stride: u32,
    bar: ProgressBar,
    in_flight: RefCell<VecDeque<wgpu::SubmissionIndex>>,
    /// By source, constants and kinds of the bindings: drivers take long to make one.
    pipelines: RefCell<HashMap<String, (wgpu::BindGroupLayout, wgpu::ComputePipeline)>>,
}

impl Gpu {
    pub fn new(device: wgpu::Device, queue: wgpu::Queue, quick: bool) -> Result<Self> {
        let stride = device.limits().min_uniform_buffer_offset_alignment.max(16);
        let steps = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("steps"),
            size: u64::from(stride) * (u64::from(MAX_STEP) + 1),
            usage: BufferUsages::UNIFORM,
            mapped_at_creation: true,
        });
        let mut numbers = vec![0u8; steps.size() as usize];
        for (t, place) in (0u32..).zip(numbers.chunks_exact_mut(stride as usize)) {
            place[..4].copy_from_slice(&t.to_ne_bytes());
        }
        steps.get_mapped_range_mut(..).context("the device is lost")?.copy_from_slice(&numbers);
        steps.unmap();
        let bar = ProgressBar::no_length();
        let (in_flight, pipelines) = Default::default();
        Ok(Self { device, queue, quick, steps, stride, bar, in_flight, pipelines })
    }

    /// A fresh bar for the experiment `name`; nothing is drawn unless stderr is a terminal.
    pub fn start(&mut self, name: &str) {
        let style = ProgressStyle::with_template("{prefix:>18} {wide_bar:.cyan/blue} {percent:>3} %  {msg}");
        let bar = ProgressBar::new(1000).with_prefix(name.to_string());
        self.bar = style.map(|style| bar.clone().with_style(style)).unwrap_or(bar);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// `full`, or `quick` in a quick run.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Tells how much of the experiment is done, 0 to 1, and what goes on.
    pub fn progress(&self, share: f64, what: &str) {
        self.bar.set_position((1000.0 * share.clamp(0.0, 1.0)) as u64);
        self.bar.set_message(what.to_string());
    }

    /// A buffer of zeros for kernels to read and write.
    pub fn storage(&self, label: &str, words: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: 4 * words.max(1) as u64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// As [`storage`](Gpu::storage), with contents.
    pub fn upload<T: bytemuck::Pod>(&self, label: &str, values: &[T]) -> wgpu::Buffer {
        let buffer = self.storage(label, size_of_val(values).div_ceil(4));
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    /// A compute kernel: `random.wgsl` and `source`, entry point `main`. Binding 0 of group 0 is `step`, these
    /// come from 1 on.
    pub fn kernel(&self, label: &str, source: &str, bindings: &[Binding<'_>]) -> Result<Kernel> {
        self.kernel_with(label, source, &[], bindings)
    }

    /// As [`kernel`](Gpu::kernel), with values for `override` constants.
    pub fn kernel_with(
        &self,
        label: &str,
        source: &str,
        constants: &[(&str, f64)],
        bindings: &[Binding<'_>],
    ) -> Result<Kernel> {
        let limit = self.device.limits().max_storage_buffers_per_shader_stage as usize;
        let count = bindings.len();
        ensure!(count <= limit, "kernel {label} binds {count} storage buffers, this adapter allows {limit}");
        let writable: Vec<bool> =
            bindings.iter().map(|binding| matches!(binding, Binding::Write(_))).collect();
        let key = format!("{source}\n{constants:?} {writable:?}");
        let known = self.pipelines.borrow().get(&key).cloned();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let (layout, pipeline) = known.unwrap_or_else(|| self.pipeline(label, source, constants, &writable));
        let bind_group = self.bind_group(label, &layout, bindings);
        if let Some(error) = scope.pop().now_or_never().flatten() {
            bail!("kernel {label}: {error}");
        }
        self.pipelines.borrow_mut().insert(key, (layout, pipeline.clone()));
        Ok(Kernel { pipeline, bind_group, stride: self.stride })
    }

    fn pipeline(
        &self,
        label: &str,
        source: &str,
        constants: &[(&str, f64)],
        writable: &[bool],
    ) -> (wgpu::BindGroupLayout, wgpu::ComputePipeline) {
        let label = Some(label);
        let source = format!("{}\n{source}", include_str!("random.wgsl"));
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let storage = |writable: &bool| wgpu::BufferBindingType::Storage { read_only: !writable };
        let types = std::iter::once(wgpu::BufferBindingType::Uniform).chain(writable.iter().map(storage));
        let entries: Vec<_> = (0..)
            .zip(types)
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: binding == 0,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label, entries: &entries };
        let layout = self.device.create_bind_group_layout(&descriptor);
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
            cache: None,
        });
        (layout, pipeline)
    }

    fn bind_group(
        &self,
        label: &str,
        layout: &wgpu::BindGroupLayout,
        bindings: &[Binding<'_>],
    ) -> wgpu::BindGroup {
        let mut ranges =
            vec![wgpu::BufferBinding { buffer: &self.steps, offset: 0, size: wgpu::BufferSize::new(16) }];
        ranges.extend(bindings.iter().map(|binding| {
            let (Binding::Read(slice) | Binding::Write(slice)) = binding;
            let size = wgpu::BufferSize::new(slice.size());
            wgpu::BufferBinding { buffer: slice.buffer(), offset: slice.offset(), size }
        }));
        let entries: Vec<_> = (0..)
            .zip(ranges)
            .map(|(binding, range)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(range),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries };
        self.device.create_bind_group(&descriptor)
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits, and waits for an earlier submit when there are many.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        let mut in_flight = self.in_flight.borrow_mut();
        in_flight.push_back(self.queue.submit([encoder.finish()]));
        if in_flight.len() > IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            // A lost device shows at the next reading.
            let _ = self.device.poll(wgpu::PollType::Wait { submission_index: Some(oldest), timeout: None });
        }
    }

    /// Reads these 4-byte words of a buffer. Submits and waits.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, words: Range<usize>) -> Result<Vec<T>> {
        if words.is_empty() {
            return Ok(vec![]);
        }
        let (start, size) = (4 * words.start as u64, 4 * words.len() as u64);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("reading"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, start, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = sender.send(result);
        });
        self.device.poll(wgpu::PollType::wait_indefinitely()).context("the device is lost")?;
        self.in_flight.borrow_mut().clear();
        receiver.try_recv().context("the device is lost")??;
        let view = staging.get_mapped_range(..).map_err(|error| anyhow!("{error}"))?;
        let mut values = vec![T::zeroed(); view.len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(&view);
        Ok(values)
    }
}
