//! Tensors that may rest, and rows that do, against a step of all that knows nothing of it.

use crate::device::Device;
use crate::document::Row;
use crate::ours::Ours;
use crate::sections::{Session, our_row, over};
use crate::turns::{Candidate, in_turns};
use anyhow::{Context, Result};
use wgpu_optim::program::RowMasks;
use wgpu_optim::{AnyRule, Options, ParamSet};

/// Floats of a row, as a Gaussian splat has them.
const WIDTH: usize = 59;

/// Whether a row rests.
type Mask = fn(row: usize) -> bool;

impl Session<'_> {
    /// AdamW over rows of 59, of which some rest.
    pub fn resting(&mut self) -> Result<()> {
        let rows = (self.plan.rules_size as usize / WIDTH).max(32);
        let device = self.device;
        let mut plain = step(device, rows, &Options::default())?;
        let mut own = Options::default();
        own.own_steps = true;
        let mut own = step(device, rows, &own)?;
        let wanted: [(&str, Mask, Option<&'static str>); 3] = [
            ("no row", |_| false, None),
            ("each second row", |row| row.is_multiple_of(2), Some("<= 0.7")),
            ("each second hundred", |row| row / 100 % 2 == 0, Some("<= 0.7")),
        ];
        let mut cases = vec![];
        for (kind, count) in
            [(RowMasks::TensorSteps, "the tensor's steps"), (RowMasks::RowSteps, "their own steps")]
        {
            for (what, rests, limit) in wanted {
                let mut options = Options::default();
                options.row_masks = Some(kind);
                let mut ours = step(device, rows, &options)?;
                let mut words = vec![0u32; rows.div_ceil(32)];
                (0..rows).filter(|row| !rests(*row)).for_each(|row| words[row / 32] |= 1 << (row % 32));
                let tensor = ours.params.find("splats").context("declared above")?;
                ours.optimizer.write_row_mask(tensor, &words)?;
                cases.push((format!("adamw, {what} rests, rows have {count}"), limit, ours));
            }
        }
        let mut candidates: Vec<&mut dyn Candidate> = vec![&mut plain, &mut own];
        candidates.extend(cases.iter_mut().map(|(_, _, ours)| ours as &mut dyn Candidate));
        let times = in_turns(device, &mut candidates, self.budget(0.1, 1))?;
        let mut add = |name: &str, ours: &Ours, index: usize, limit| {
            let mut row: Row = our_row("resting", name, ours, &times[index]);
            let against = "a step that knows nothing of rests".into();
            row.over = over(&times[index], &times[0], against, limit).filter(|_| index > 0);
            self.report.rows.push(row);
        };
        add("adamw", &plain, 0, None);
        add("adamw, no tensor rests, `own_steps`", &own, 1, Some("<= 1.02"));
        for (index, (name, limit, ours)) in cases.iter().enumerate() {
            add(name, ours, index + 2, *limit);
        }
        Ok(())
    }
}

fn step(device: &Device, rows: usize, options: &Options) -> Result<Ours> {
    let mut params = ParamSet::builder();
    let group = params.group("all");
    params.tensor("splats", [rows, WIDTH], group);
    let params = params.build(&device.device)?;
    crate::ours::fill(device, &params)?;
    Ours::over(device, params, &AnyRule::named("adamw")?, options)
}
