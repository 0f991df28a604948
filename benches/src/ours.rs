//! A step of the library, as it is measured.

use crate::device::Device;
use crate::turns::Candidate;
use anyhow::Result;
use wgpu_optim::{AnyRule, Optimizer, Options, Packing, ParamSet, Wrappers};

/// What a step is over: equal tensors dealt to groups in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub parameters: u64,
    pub tensors: usize,
    pub groups: usize,
    /// Tensors are matrices of 1 024 columns, where they are large enough.
    pub matrices: bool,
}

impl Load {
    /// One tensor in one group.
    pub fn one(parameters: u64) -> Self {
        Self { parameters, tensors: 1, groups: 1, matrices: true }
    }

    /// Some tensors in some groups.
    pub fn many(parameters: u64, tensors: usize, groups: usize) -> Self {
        Self { parameters, tensors, groups, matrices: true }
    }

    /// The tensors, with numbers in them.
    pub fn set(self, device: &Device) -> Result<ParamSet> {
        let mut builder = ParamSet::builder();
        builder.packing(Packing::Bindable);
        let groups: Vec<_> = (0..self.groups).map(|i| builder.group(format!("group {i}"))).collect();
        let tensors = self.tensors as u64;
        for i in 0..tensors {
            let end = |i: u64| self.parameters * i / tensors;
            let len = (end(i + 1) - end(i)) as usize;
            let shape = match len / 1024 {
                // What is left of a row is left out, so that all that is counted is updated.
                rows @ 1.. if self.matrices => vec![rows, 1024],
                _ => vec![len],
            };
            builder.tensor(format!("tensor {i}"), shape, groups[i as usize % self.groups]);
        }
        let params = builder.build(&device.device)?;
        fill(device, &params)?;
        Ok(params)
    }
}

/// A set of tensors and an optimizer over it.
pub struct Ours {
    pub params: ParamSet,
    pub optimizer: Optimizer<AnyRule>,
}

impl Ours {
    /// Each group with the same configuration.
    pub fn new(device: &Device, load: Load, rule: &AnyRule, wrappers: Wrappers) -> Result<Self> {
        let mut options = Options::default();
        options.wrappers = wrappers;
        Self::with_options(device, load, rule, &options)
    }

    /// As `new`, with options.
    pub fn with_options(device: &Device, load: Load, rule: &AnyRule, options: &Options) -> Result<Self> {
        Self::over(device, load.set(device)?, rule, options)
    }

    /// Over a set of tensors that is there.
    pub fn over(device: &Device, params: ParamSet, rule: &AnyRule, options: &Options) -> Result<Self> {
        let groups = vec![rule.clone(); params.groups().len()];
        let optimizer = Optimizer::with_options(&device.device, &device.queue, &params, groups, options)?;
        Ok(Self { params, optimizer })
    }

    /// Parameters that a step updates.
    pub fn parameters(&self) -> u64 {
        self.params.elements()
    }

    /// Bytes that a step reads and writes.
    pub fn bytes(&self) -> u64 {
        self.optimizer.program().bytes_per_parameter * self.parameters()
    }

    /// Bytes beyond parameters, gradients and slots.
    pub fn overhead(&self) -> u64 {
        self.params.overhead_bytes() + self.optimizer.overhead_bytes()
    }
}

/// Gives all parameters and gradients numbers.
pub fn fill(device: &Device, params: &ParamSet) -> Result<()> {
    let Some(first) = params.tensors().first().and_then(|tensor| params.find(&tensor.name)) else {
        return Ok(());
    };
    let pipeline = device.pipeline(include_str!("../lab/fill.wgsl"), &[])?;
    let layout = pipeline.get_bind_group_layout(0);
    // As much at a time as one dimension of a dispatch and a binding hold.
    let limit = device.device.limits().max_storage_buffer_binding_size.min(128 << 20) / 256 * 256;
    for arena in [params.param(first)?, params.grad(first)?] {
        let buffer = arena.buffer();
        for offset in (0..buffer.size()).step_by(limit as usize) {
            let size = limit.min(buffer.size() - offset);
            let words = wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };
            let group = device.guarded(|| {
                device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout: &layout,
                    entries: &[wgpu::BindGroupEntry {
                        binding: 0,
                        resource: wgpu::BindingResource::Buffer(words),
                    }],
                })
            })?;
            let mut encoder = device.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups((size / 4).div_ceil(64 * 64) as u32, 1, 1);
            }
            device.submit(encoder)?;
        }
    }
    Ok(())
}

impl Candidate for Ours {
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        Ok(self.optimizer.step(encoder)?)
    }

    fn most(&self) -> usize {
        self.optimizer.steps_ahead()
    }
}
