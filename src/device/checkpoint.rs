//! Writes a checkpoint one tensor at a time: a model need not fit into the host's memory.

use super::optimizer::Optimizer;
use super::params::{ParamSet, TensorId};
use super::readback::{Download, read_blocking};
use super::state::Role;
use crate::error::Error;
use crate::program::Slice;
use crate::rule::Config;
use crate::state::OptimizerState;
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

    fn read_words(
        &self,
        record: impl FnOnce(&Self, &mut CommandEncoder) -> Result<Download, Error>,
    ) -> Result<Vec<u32>, Error> {
        let values = read_blocking(&self.device, &self.queue, |encoder| record(self, encoder))?;
        Ok(values.into_iter().map(f32::to_bits).collect())
    }
}
