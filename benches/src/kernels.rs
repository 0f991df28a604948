//! What ours is compared with: kernels written by hand for one tensor, and the limit, a kernel that copies. Each in a
//! ladder of shapes, of which the best one of a size counts.

use crate::device::Device;
use crate::turns::{Budget, Candidate, Quartiles, in_turns};
use anyhow::{Context, Result};
use wgpu::BufferUsages;
use wgpu::util::DeviceExt;

/// Invocations of a workgroup, and the vec4 that each takes.
pub type Rung = (u32, u32);

/// Shapes that were seen to win somewhere: without a loop on GPUs, with long loops on CPUs.
pub const LADDER: [Rung; 6] = [(64, 1), (128, 1), (256, 1), (256, 4), (64, 16), (64, 64)];

/// A pipeline and its bind groups, each with the workgroups of its dispatch.
pub struct Kernel {
    pub rung: Rung,
    pipeline: wgpu::ComputePipeline,
    parts: Vec<(wgpu::BindGroup, u32)>,
}

impl Candidate for Kernel {
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for (group, workgroups) in &self.parts {
            pass.set_bind_group(0, group, &[]);
            let rows = workgroups.div_ceil(65_535).max(1);
            pass.dispatch_workgroups(workgroups.div_ceil(rows), rows, 1);
        }
        Ok(())
    }
}

/// The buffers of one hand-written step, which all rungs share.
pub struct Buffers {
    hyper: Option<wgpu::Buffer>,
    arenas: Vec<wgpu::Buffer>,
    /// Bytes of a part.
    part: u64,
    parts: u64,
}

impl Buffers {
    /// Of AdamW over `parameters` in equal parts, each bound for itself.
    pub fn adamw(device: &Device, parameters: u64, parts: u64) -> Result<Self> {
        // Each part starts where a binding may.
        let part = (parameters / parts).max(1).next_multiple_of(64) * 4;
        let hyper = [0.9f32, 0.1, 0.999, 0.001, 1.0, 1e-8, 1e-3, 0.9999];
        let hyper = device.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&hyper),
            usage: BufferUsages::UNIFORM,
        });
        let arena = |_| device.buffer(part * parts, BufferUsages::STORAGE);
        Ok(Self { hyper: Some(hyper), arenas: (0..4).map(arena).collect::<Result<_>>()?, part, parts })
    }

    /// Of a copy that reads and writes `bytes` in all, or as many as a binding holds.
    pub fn copy(device: &Device, bytes: u64) -> Result<Self> {
        let limits = device.device.limits();
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let part = (bytes / 2).min(most).max(16) / 16 * 16;
        let arena = |_| device.buffer(part, BufferUsages::STORAGE);
        Ok(Self { hyper: None, arenas: (0..2).map(arena).collect::<Result<_>>()?, part, parts: 1 })
    }

    /// Bytes that a copy reads and writes.
    pub fn copied(&self) -> u64 {
        2 * self.part * self.parts
    }

    /// The kernel of one rung over these buffers.
    pub fn kernel(&self, device: &Device, rung: Rung) -> Result<Kernel> {
        let text = match self.hyper {
            Some(_) => include_str!("../lab/adamw_plain.wgsl"),
            None => include_str!("../lab/copy.wgsl"),
        };
        let (width, quads) = rung;
        let constants = [("QUADS", f64::from(quads)), ("WIDTH", f64::from(width))];
        let pipeline = device.pipeline(text, &constants)?;
        device.guarded(|| {
            let layout = pipeline.get_bind_group_layout(0);
            let bind = |i: u64| {
                let range = |buffer| {
                    let (offset, size) = (i * self.part, wgpu::BufferSize::new(self.part));
                    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
                };
                let hyper = self.hyper.iter().map(|hyper| hyper.as_entire_binding());
                let entries: Vec<_> = (0..)
                    .zip(hyper.chain(self.arenas.iter().map(range)))
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                let descriptor =
                    wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
                let workgroups = (self.part / 16).div_ceil(u64::from(width * quads)) as u32;
                (device.device.create_bind_group(&descriptor), workgroups)
            };
            Kernel { rung, parts: (0..self.parts).map(bind).collect(), pipeline }
        })
    }

    /// All rungs that the device allows.
    pub fn ladder(&self, device: &Device) -> Result<Vec<Kernel>> {
        let limits = device.device.limits();
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        LADDER.iter().filter(|(width, _)| *width <= most).map(|rung| self.kernel(device, *rung)).collect()
    }

    /// The fastest rung.
    pub fn best(&self, device: &Device, budget: Budget) -> Result<Kernel> {
        let mut ladder = self.ladder(device)?;
        let mut candidates: Vec<&mut dyn Candidate> =
            ladder.iter_mut().map(|kernel| kernel as &mut dyn Candidate).collect();
        let times = in_turns(device, &mut candidates, budget)?;
        let median =
            |i: usize| Quartiles::of(times[i].best()).map_or(f64::INFINITY, |quartiles| quartiles.median);
        let best = (0..ladder.len()).min_by(|a, b| median(*a).total_cmp(&median(*b)));
        Ok(ladder.swap_remove(best.context("no shape of the ladder fits the device")?))
    }
}
