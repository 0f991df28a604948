//! Masks of rows: who takes part in the steps to come. The host writes them, by the queue, by a copy or in a kernel of its own.

use super::optimizer::Optimizer;
use super::params::{BufferRange, TensorId};
use crate::error::Error;
use crate::program::{ELEMENT, Slice};
use crate::rule::Config;
use wgpu::{BufferSlice, BufferUsages, CommandEncoder};

impl<C: Config> Optimizer<C> {
    /// The mask of a tensor's rows, for kernels of the caller's that write it: storage, one bit a row, of row i bit i % 32 of
    /// word i / 32; it starts where it can be bound. Steps that run afterwards leave out rows whose bit is 0. All bits are 1
    /// before the first step, and stay as the host left them.
    ///
    /// ```no_run
    /// # use wgpu_optim::{Error, Optimizer, Options, ParamSet, program::RowMasks, rules::Adam, wgpu};
    /// # fn f(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
    /// let mut builder = ParamSet::builder();
    /// let group = builder.group("splats");
    /// let means = builder.tensor("means", [1_000_000, 3], group);
    /// let params = builder.build(device)?;
    /// let mut options = Options::default();
    /// options.row_masks = Some(RowMasks::RowSteps);
    /// let mut optimizer = Optimizer::with_options(device, queue, &params, [Adam::default()], &options)?;
    /// let visible = optimizer.row_mask(means)?; // bind it, and set the bits of what is seen
    /// # let _ = visible; let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?; // moves these alone
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WithoutOption`] without [`Options::row_masks`](crate::Options::row_masks), [`Error::UnknownHandle`].
    pub fn row_mask(&self, tensor: TensorId) -> Result<BufferSlice<'_>, Error> {
        let Slice { buffer, offset, size } = self.mask_of(tensor)?;
        Ok(self.objects.buffers[buffer as usize].slice(offset..offset + size))
    }

    /// Writes the mask of a tensor's rows through the queue: it takes effect before the next submit.
    ///
    /// # Errors
    /// As [`row_mask`](Optimizer::row_mask), [`Error::RowMask`] for another number of words, [`Error::DeviceLost`].
    pub fn write_row_mask(&mut self, tensor: TensorId, words: &[u32]) -> Result<(), Error> {
        self.watch.check()?;
        let mask = self.mask_of(tensor)?;
        if words.len() as u64 * ELEMENT != mask.size {
            return Err(self.wrong_mask(tensor, mask, format!("{} words were given", words.len())));
        }
        self.queue.write_buffer(
            &self.objects.buffers[mask.buffer as usize],
            mask.offset,
            bytemuck::cast_slice(words),
        );
        Ok(())
    }

    /// Records a copy of a mask from a buffer of the caller's, from there on: steps recorded behind it follow it.
    ///
    /// # Errors
    /// As [`row_mask`](Optimizer::row_mask), [`Error::RowMask`] for a range that does not hold it and for a buffer without
    /// `COPY_SRC`.
    pub fn copy_row_mask(
        &mut self,
        encoder: &mut CommandEncoder,
        tensor: TensorId,
        from: &BufferRange,
    ) -> Result<(), Error> {
        let mask = self.mask_of(tensor)?;
        let BufferRange { buffer, offset } = from;
        let wrong = |problem| Err(self.wrong_mask(tensor, mask, problem));
        if !buffer.usage().contains(BufferUsages::COPY_SRC) {
            return wrong(format!("the buffer has usages {:?}, but COPY_SRC is needed", buffer.usage()));
        }
        if !offset.is_multiple_of(ELEMENT)
            || offset.checked_add(mask.size).is_none_or(|end| end > buffer.size())
        {
            return wrong(format!("byte {offset} of a buffer of {} bytes was given", buffer.size()));
        }
        let to = &self.objects.buffers[mask.buffer as usize];
        encoder.copy_buffer_to_buffer(buffer, *offset, to, mask.offset, mask.size);
        Ok(())
    }

    fn mask_of(&self, tensor: TensorId) -> Result<Slice, Error> {
        self.program.row_mask(self.index_of(tensor)?)
    }

    fn wrong_mask(&self, tensor: TensorId, mask: Slice, problem: String) -> Error {
        let place = &self.program.tensors[tensor.index];
        let rows = place.shape.first().copied().unwrap_or(1);
        Error::RowMask { tensor: place.name.clone(), rows, words: mask.size / ELEMENT, problem }
    }
}
