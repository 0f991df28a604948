//! What can be read of an optimizer, or bound: slots, norms, what was skipped, sizes. Where it is, its program says.

use super::optimizer::Optimizer;
use super::params::TensorId;
use super::readback::{Download, copy_out};
use crate::error::Error;
use crate::program::Slice;
use crate::rule::Config;
use wgpu::{BufferSlice, CommandEncoder};

impl<C: Config> Optimizer<C> {
    /// Records a copy of the norm of all gradients in the last step, as clipping by norm sees it (averaged,
    /// without the loss scale): two values, the norm and the number of gradients that were not finite and are
    /// left out of it.
    ///
    /// # Errors
    /// [`Error::NoReading`] where nothing reduces the gradients: no clipping by norm, no skipping.
    pub fn download_grad_norm(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        self.download_reading(encoder, "grad_norm")
    }

    /// Records a copy of the rule's device scalars, as they are at this point of the encoder: one value for each of its
    /// fields of kind `device`, in order, such as Prodigy's d.
    ///
    /// # Errors
    /// [`Error::NoReading`] where the rule has none, or there are no parameters.
    pub fn download_device_scalars(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        self.download_reading(encoder, "device_scalars")
    }

    /// Records a copy of what skipping depends on: four values, the loss scale of the next step, one over that
    /// of the last step, 1 if the last step was taken or 0, and the number of steps skipped so far.
    ///
    /// # Errors
    /// [`Error::NoReading`] where no step is skipped.
    pub fn download_skips(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        self.download_reading(encoder, "skips")
    }

    /// The loss scale of the next step, on the device: for the host's kernels to multiply the loss, or its
    /// gradient, by. Bind the buffer from offset 0 on, as `var<storage, read_write> scratch: array<vec4<f32>>` or
    /// read-only; the scale is `scratch[1].x`. Only the optimizer writes it.
    ///
    /// `None` without loss scaling.
    pub fn loss_scale(&self) -> Option<&wgpu::Buffer> {
        let slices = self.program.reading("loss_scale")?;
        slices.first().map(|slice| &self.objects.buffers[slice.buffer as usize])
    }

    fn download_reading(&self, encoder: &mut CommandEncoder, name: &'static str) -> Result<Download, Error> {
        let slices = self.program.reading(name);
        let rule = || self.program.optimizer.clone();
        Ok(self.copy(encoder, slices.ok_or_else(|| Error::NoReading { rule: rule(), what: name })?))
    }

    pub(crate) fn copy(&self, encoder: &mut CommandEncoder, slices: &[Slice]) -> Download {
        let part = |slice: &Slice| (&self.objects.buffers[slice.buffer as usize], slice.offset, slice.size);
        copy_out(&self.device, encoder, &slices.iter().map(part).collect::<Vec<_>>())
    }

    /// Bytes on the device beyond parameters, gradients and slots: tables with their rings of host
    /// scalars, terms, and padding in the slots. See also [`ParamSet::overhead_bytes`](crate::ParamSet::overhead_bytes).
    pub fn overhead_bytes(&self) -> u64 {
        // Counts are read through a buffer of a word each.
        self.program.overhead_bytes() + self.program.rows.counts().iter().map(|count| count.size).sum::<u64>()
    }

    /// Bytes of the slots on the device.
    pub fn state_bytes(&self) -> u64 {
        self.program.state_bytes()
    }

    /// Records a copy of one slot of a tensor as it is at this point of the encoder: of a ring all its
    /// values, one behind the other, the one written at step t at place (t - 1) modulo its length.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`], [`Error::UnknownHandle`].
    pub fn download_slot(
        &self,
        encoder: &mut CommandEncoder,
        tensor: TensorId,
        slot: &str,
    ) -> Result<Download, Error> {
        Ok(self.copy(encoder, &self.slot_slices(tensor, slot)?))
    }

    /// Where a slot of a tensor lies, f32, for kernels of the caller's that read it: one slice, or several, one
    /// behind the other, of a ring and of a tensor that more than one dispatch updates. Where an offset is less
    /// aligned than the device wants of a binding, a kernel can bind the whole buffer and start there.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`], [`Error::UnknownHandle`].
    pub fn slot(&self, tensor: TensorId, slot: &str) -> Result<Vec<BufferSlice<'_>>, Error> {
        let slice = |slice: Slice| {
            let range = slice.offset..slice.offset + slice.size;
            self.objects.buffers[slice.buffer as usize].slice(range)
        };
        Ok(self.slot_slices(tensor, slot)?.into_iter().map(slice).collect())
    }

    fn slot_slices(&self, tensor: TensorId, slot: &str) -> Result<Vec<Slice>, Error> {
        self.program.slot(self.index_of(tensor)?, slot).ok_or_else(|| {
            let (rule, kept) = (self.program.optimizer.clone(), self.slots().join(", "));
            Error::UnknownSlot { rule, slot: slot.into(), kept }
        })
    }

    /// The slots that this optimizer allocated, in the order of the rule's `State`, then those of the wrappers.
    pub fn slots(&self) -> Vec<&str> {
        self.program.slot_names().collect()
    }

    /// Reads one slot of a tensor. **Submits and blocks**: for tools and tests; inside an application
    /// record a [`download_slot`](Optimizer::download_slot) and await it.
    ///
    /// # Errors
    /// As [`download_slot`](Optimizer::download_slot), and [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_slot_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: TensorId,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        super::readback::read_blocking(&self.device, queue, |encoder| {
            self.download_slot(encoder, tensor, slot)
        })
    }
}
