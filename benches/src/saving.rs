//! A checkpoint written one tensor at a time, against the same bytes read back at once and written.

use crate::device::Device;
use crate::document::Row;
use crate::ours::{Load, Ours};
use crate::sections::{Session, over};
use crate::turns::Times;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use wgpu_optim::{AnyRule, Wrappers};

const ROUNDS: usize = 5;

impl Session<'_> {
    /// AdamW's parameters and slots in 16 tensors. Wall time: most of it is the host's and the disk's.
    pub fn saving(&mut self) -> Result<()> {
        let size = 4 * self.plan.rules_size;
        let ours =
            Ours::new(self.device, Load::many(size, 16, 1), &AnyRule::named("adamw")?, Wrappers::default())?;
        let folder = tempfile::tempdir()?;
        let [checkpoint, plain] = ["checkpoint", "plain"].map(|name| folder.path().join(name));
        let (mut saved, mut copied) = (Times::default(), Times::default());
        for round in 0..=ROUNDS {
            let start = Instant::now();
            ours.optimizer.save_checkpoint_blocking(&ours.params, &checkpoint)?;
            let first = start.elapsed().as_secs_f64();
            let start = Instant::now();
            copy_out(self.device, &ours, &plain)?;
            // The first round is a warm-up.
            if round > 0 {
                saved.wall.push(first);
                copied.wall.push(start.elapsed().as_secs_f64());
            }
        }
        let mut row = Row::new("saving", "adamw: parameters and slots to a file", &saved);
        (row.parameters, row.tensors, row.bytes) =
            (ours.parameters(), 16, std::fs::metadata(&checkpoint)?.len());
        row.over =
            over(&saved, &copied, "the same bytes copied to the host and written".into(), Some("<= 2"));
        self.report.rows.push(row);
        Ok(())
    }
}

/// Reads everything back and writes it as it is.
fn copy_out(device: &Device, ours: &Ours, path: &Path) -> Result<()> {
    let mut parts = vec![];
    for tensor in ours.params.tensors() {
        let tensor = ours.params.find(&tensor.name).context("it has its name")?;
        parts.push(ours.params.param(tensor)?);
        for slot in ours.optimizer.slots() {
            parts.extend(ours.optimizer.slot(tensor, slot)?);
        }
    }
    let mut encoder = device.encoder();
    let mut staged = vec![];
    for part in &parts {
        let staging =
            device.buffer(part.size(), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        encoder.copy_buffer_to_buffer(part.buffer(), part.offset(), &staging, 0, part.size());
        staged.push(staging);
    }
    for staging in &staged {
        encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., |_| ());
    }
    device.submit(encoder)?;
    let mut file = std::fs::File::create(path)?;
    for staging in &staged {
        file.write_all(&staging.get_mapped_range(..)?)?;
    }
    Ok(file.sync_all()?)
}
