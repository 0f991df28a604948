//! Writes and reads a checkpoint one tensor at a time: a model need not fit into the host's memory.

use super::optimizer::Optimizer;
use super::params::{ParamSet, TensorId};
use super::readback::{Download, read_blocking, wait_for};
use super::state::Role;
use crate::error::Error;
use crate::program::Slice;
use crate::rule::Config;
use crate::state::{OptimizerState, StateFile, put};
use std::collections::HashMap;
use std::path::Path;
use wgpu::CommandEncoder;

/// Where the words of a tensor of the file are.
enum Source {
    Own(TensorId, Role),
    Slot(Vec<Slice>),
}

impl<C: Config> Optimizer<C> {
    /// Writes parameters and state to a safetensors file, as [`OptimizerState::save`] does with what
    /// [`download_checkpoint`](Optimizer::download_checkpoint) gave, with one tensor or slot in the host's memory at a time.
    /// **Submits and blocks**: for tools; everything recorded so far must have been submitted.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses; the file is then as it was. [`Error::UnknownHandle`] for parameters of another
    /// set, [`Error::Buffer`] for a buffer of the host's without `COPY_SRC`, [`Error::DeviceLost`].
    pub fn save_checkpoint_blocking(&self, params: &ParamSet, path: impl AsRef<Path>) -> Result<(), Error> {
        let (slots, rest) = OptimizerState::kept_apart(&self.program);
        let rest: Vec<Slice> = rest.into_iter().flat_map(|words| words.slices).collect();
        let rest = self.read_words(|optimizer, encoder| Ok(optimizer.copy(encoder, &rest)))?;
        let state = OptimizerState::without_slots(&self.program, &self.clock, &rest)?;
        let mut sources = HashMap::new();
        let mut tensors = vec![];
        let mut add = |name: String, words: usize, source: Source| {
            tensors.push((name.clone(), words));
            sources.insert(name, source);
        };
        for (name, id, role) in self.beside_state(params) {
            add(name, params.tensor(id)?.len, Source::Own(id, role));
        }
        for slot in slots {
            let words = slot.slices.iter().map(|slice| slice.size as usize / 4).sum();
            add(slot.name, words, Source::Slot(slot.slices));
        }
        state.save_with(path, &tensors, |name| {
            self.read_words(|optimizer, encoder| match &sources[name] {
                Source::Own(id, Role::Param) => params.download_param(encoder, *id),
                Source::Own(id, Role::Grad) => params.download_grad(encoder, *id),
                Source::Slot(slices) => Ok(optimizer.copy(encoder, slices)),
            })
        })
    }

    /// Goes on from a file of a checkpoint, as [`load_params`](ParamSet::load_params) and
    /// [`load_state`](Optimizer::load_state) do with what [`OptimizerState::open`] gave, with one tensor or slot in the host's
    /// memory at a time. **Submits and blocks**. The state that it gives back is without slots and parameters: what the host had
    /// put into it is there.
    ///
    /// # Errors
    /// [`Error::State`], naming every difference, [`Error::File`] for a file that is not there,
    /// [`Error::UnknownHandle`] for parameters of another set; nothing was changed then. [`Error::File`] where the system can
    /// read only a part of it, [`Error::Buffer`] for a buffer of the host's without `COPY_DST`, [`Error::DeviceLost`]: load
    /// again then, since a part was written.
    pub fn load_checkpoint_blocking(
        &mut self,
        params: &ParamSet,
        path: impl AsRef<Path>,
    ) -> Result<OptimizerState, Error> {
        self.watch.check()?;
        let mut file = StateFile::open(path)?;
        let state = file.state_without_slots()?;
        let mut clock = self.clock.clone();
        let placed = state.place(&self.program, &mut clock, true, |name| file.count(name))?;
        let mut beside = vec![];
        for (name, id, role) in self.beside_state(params) {
            let needed = params.tensor(id)?.len;
            let reason = match (file.count(&name), role) {
                (Some(count), _) if count == needed => {
                    beside.push((name, id, role));
                    continue;
                }
                (None, Role::Grad) => continue,
                (Some(count), _) => format!("'{name}' has {count} elements in it, {needed} here"),
                (None, Role::Param) => format!("'{name}' is not in it"),
            };
            return Err(Error::State { reason });
        }
        let written = || wait_for(&self.device, async { Ok(()) });
        for (name, id, role) in beside {
            let words = file.read(&name)?;
            let values = bytemuck::cast_slice(&words);
            match role {
                Role::Param => params.write_param(&self.queue, id, values)?,
                Role::Grad => params.write_grad(&self.queue, id, values)?,
            }
            // What is written waits in the host's memory for a submit.
            self.queue.submit([]);
            written()?;
        }
        for kept in &placed.slots {
            let words = file.read(&kept.name)?;
            let mut writes = vec![];
            put(&mut writes, kept, &words);
            writes.iter().for_each(|(slice, words)| self.write_words(slice, words));
            self.queue.submit([]);
            written()?;
        }
        placed.writes.iter().for_each(|(slice, words)| self.write_words(slice, words));
        self.clock = clock;
        self.forget_count();
        Ok(state)
    }

    fn read_words(
        &self,
        record: impl FnOnce(&Self, &mut CommandEncoder) -> Result<Download, Error>,
    ) -> Result<Vec<u32>, Error> {
        let values = read_blocking(&self.device, &self.queue, |encoder| record(self, encoder))?;
        Ok(values.into_iter().map(f32::to_bits).collect())
    }
}
