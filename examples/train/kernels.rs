//! The network's kernels as pipelines with their bindings, and the buffers that these bind.

use anyhow::{Result, ensure};
use wgpu::util::DeviceExt;
use wgpu::{BufferSlice, BufferUsages, ComputePass};
use wgpu_optim::wgpu;

/// Invocations of a kernel's workgroup in x and y.
const WORKGROUP: (u32, u32) = (8, 4);

/// A batch: where it starts in the order of the samples, how many it has, where its loss goes.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Batch {
    pub start: u32,
    pub count: u32,
    pub slot: u32,
    pub reserved: u32,
}

/// Invocations of a kernel in y.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// One for so many samples of the batch.
    Samples(u32),
    Fixed(u32),
}

/// What a kernel may do with a buffer.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    Read(BufferSlice<'a>),
    Write(BufferSlice<'a>),
}

/// One dispatch of a step.
#[derive(Debug)]
pub struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    /// Invocations in x.
    columns: u32,
    rows: Rows,
}

impl Kernel {
    /// Records the kernel for a batch whose record is `offset` bytes into the batches.
    pub fn record(&self, pass: &mut ComputePass<'_>, batch: Batch, offset: u32) {
        let rows = match self.rows {
            Rows::Samples(each) => batch.count.div_ceil(each),
            Rows::Fixed(rows) => rows,
        };
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[offset]);
        pass.dispatch_workgroups(self.columns.div_ceil(WORKGROUP.0), rows.div_ceil(WORKGROUP.1), 1);
    }
}

/// Makes buffers and kernels.
pub struct Maker<'a> {
    pub device: &'a wgpu::Device,
    /// One [`Batch`] after the other, each where a uniform binding may start.
    pub batches: &'a wgpu::Buffer,
}

impl Maker<'_> {
    /// A kernel: `batch.wgsl` and `source` with these constants, with `rows` by `columns` invocations.
    pub fn kernel(
        &self,
        (label, source): (&str, &str),
        constants: &[(&str, f64)],
        bindings: &[Binding<'_>],
        (rows, columns): (Rows, u32),
    ) -> Kernel {
        let label = Some(label);
        let source = format!("{}\n{source}", include_str!("batch.wgsl"));
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });

        let batch = wgpu::BufferBinding {
            buffer: self.batches,
            offset: 0,
            size: wgpu::BufferSize::new(size_of::<Batch>() as u64),
        };
        let mut types = vec![(wgpu::BufferBindingType::Uniform, batch)];
        types.extend(bindings.iter().map(|binding| {
            let (slice, read_only) = match binding {
                Binding::Read(slice) => (slice, true),
                Binding::Write(slice) => (slice, false),
            };
            let size = wgpu::BufferSize::new(slice.size());
            let range = wgpu::BufferBinding { buffer: slice.buffer(), offset: slice.offset(), size };
            (wgpu::BufferBindingType::Storage { read_only }, range)
        }));
        let layout: Vec<_> = (0..)
            .zip(&types)
            .map(|(binding, (ty, _))| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: *ty,
                    has_dynamic_offset: binding == 0,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let entries: Vec<_> = (0..)
            .zip(types)
            .map(|(binding, (_, range))| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(range),
            })
            .collect();
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &layout });
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &layout,
            entries: &entries,
        });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
            cache: None,
        });
        Kernel { pipeline, bind_group, columns, rows }
    }
}

/// The records of `batches`, `stride` bytes apart.
pub fn records(batches: &[Batch], stride: usize) -> Vec<u8> {
    let mut bytes = vec![0; batches.len() * stride];
    for (record, batch) in bytes.chunks_exact_mut(stride).zip(batches) {
        record[..size_of::<Batch>()].copy_from_slice(bytemuck::bytes_of(batch));
    }
    bytes
}

/// A buffer with contents.
pub fn upload(
    device: &wgpu::Device,
    label: &str,
    usage: BufferUsages,
    contents: &[u8],
) -> Result<wgpu::Buffer> {
    check_size(device, label, contents.len() as u64)?;
    let label = Some(label);
    Ok(device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label, contents, usage }))
}

/// A buffer of zeros, of `words` f32.
pub fn zeros(device: &wgpu::Device, label: &str, words: usize) -> Result<wgpu::Buffer> {
    let size = words as u64 * 4;
    check_size(device, label, size)?;
    Ok(device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    }))
}

fn check_size(device: &wgpu::Device, label: &str, bytes: u64) -> Result<()> {
    let limits = device.limits();
    let limit = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
    ensure!(bytes <= limit, "{label}: {bytes} bytes, but this adapter's buffers hold {limit}");
    Ok(())
}
