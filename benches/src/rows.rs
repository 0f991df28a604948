//! Rows pruned by half on the device, against plain copies of what is kept.

use crate::device::Device;
use crate::document::Row;
use crate::sections::{Session, over};
use crate::turns::{Candidate, in_turns};
use anyhow::{Context, Result};
use wgpu_optim::rules::Adam;
use wgpu_optim::{Changes, Optimizer, ParamSet};

/// Floats of a row, as a Gaussian splat has them.
const WIDTH: usize = 59;

impl Session<'_> {
    /// Half of a million rows kept, against copies of as many words.
    pub fn rows(&mut self) -> Result<()> {
        let rows = (self.plan.rules_size as usize / 2).clamp(1, 1_000_000);
        let mut pruning = Pruning::new(self.device, rows)?;
        let mut copies = pruning.copies(self.device)?;
        let parameters = pruning.parameters();
        let times = in_turns(self.device, &mut [&mut pruning, &mut copies], self.budget(0.1, 1))?;
        let mut row = Row::new("rows", format!("half of {rows} rows of {WIDTH} kept"), &times[0]);
        // Parameters, gradients and two slots, read and written.
        (row.parameters, row.bytes) = (parameters, parameters * 4 * 4 * 2);
        row.over = over(&times[0], &times[1], "copies of as many words".into(), Some("<= 2.5"));
        self.report.rows.push(row);
        Ok(())
    }
}

struct Set {
    params: ParamSet,
    optimizer: Optimizer<Adam>,
}

impl Set {
    fn new(device: &Device, rows: usize) -> Result<Self> {
        let mut params = ParamSet::builder();
        let group = params.group("all");
        params.tensor("splats", [rows, WIDTH], group);
        let params = params.build(&device.device)?;
        let optimizer = Optimizer::new(&device.device, &device.queue, &params, [Adam::adamw()])?;
        Ok(Self { params, optimizer })
    }

    /// Parameters, gradients and both slots.
    fn parts(&self) -> Result<Vec<wgpu::BufferSlice<'_>>> {
        let tensor = self.params.find("splats").context("declared above")?;
        let mut parts = vec![self.params.param(tensor)?, self.params.grad(tensor)?];
        for slot in self.optimizer.slots() {
            parts.extend(self.optimizer.slot(tensor, slot)?);
        }
        Ok(parts)
    }
}

/// AdamW over rows of which every second is kept.
struct Pruning {
    old: Set,
    new: Set,
    changes: Changes,
    kept: Vec<u32>,
}

impl Pruning {
    fn new(device: &Device, rows: usize) -> Result<Self> {
        let kept: Vec<u32> = (0..rows as u32).step_by(2).collect();
        let mut changes = Changes::new();
        changes.rows("splats", kept.clone());
        Ok(Self { old: Set::new(device, rows)?, new: Set::new(device, kept.len())?, changes, kept })
    }

    /// Parameters that are kept.
    fn parameters(&self) -> u64 {
        (self.kept.len() * WIDTH) as u64
    }

    /// As many words, copied as they lie from buffers of their own.
    fn copies(&self, device: &Device) -> Result<Copies> {
        let copy = |new: wgpu::BufferSlice<'_>| {
            let old = device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("bench: to copy"),
                size: new.size(),
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            (old, new.buffer().clone(), new.offset())
        };
        Ok(Copies(self.new.parts()?.into_iter().map(copy).collect()))
    }
}

impl Candidate for Pruning {
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let old = (&self.old.optimizer, &self.old.params);
        Ok(self.new.optimizer.take_over(encoder, &self.new.params, old, &self.changes)?)
    }
}

/// Copies of all parts of a set: the whole of a buffer to a place in another.
struct Copies(Vec<(wgpu::Buffer, wgpu::Buffer, u64)>);

impl Candidate for Copies {
    fn record(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        for (old, new, at) in &self.0 {
            encoder.copy_buffer_to_buffer(old, 0, new, *at, old.size());
        }
        Ok(())
    }
}
