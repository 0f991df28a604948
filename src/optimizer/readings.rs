//! What can be read of an optimizer, or bound: slots, norms, what was skipped, sizes.

use super::Optimizer;
use crate::any_rule::Config;
use crate::error::Error;
use crate::layout::SCRATCH_HEADER;
use crate::lines::Matrices;
use crate::params::TensorId;
use crate::plan::{ELEMENT, Piece};
use crate::readback::{Download, copy_out};
use crate::rule::{SlotKind, carried_fields};
use crate::wrappers::WRAPPER_SLOTS;
use std::ops::Range;
use wgpu::{BufferSlice, CommandEncoder};

/// Words of the scratch buffer; see `shaders/scratch.wgsl`.
const SCALE: u64 = 4;
const SKIPPED: u64 = 8;

impl<C: Config> Optimizer<C> {
    /// Records a copy of the norm of all gradients in the last step, as clipping by norm sees it (averaged,
    /// without the loss scale): two values, the norm and the number of gradients that were not finite and are
    /// left out of it.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`] where nothing measures the gradients: no clipping by norm, no skipping.
    pub fn download_grad_norm(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        self.download_scratch(encoder, "norm of the gradients", 0..2, self.wrappers.measures_gradients())
    }

    /// Records a copy of the scalars that the rule carries from step to step on the device, as they are at this
    /// point of the encoder: one value for each of its fields of kind `carried`, in order, such as Prodigy's d.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`] where the rule carries nothing, or there are no parameters.
    pub fn download_carried(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        let start = SCRATCH_HEADER as u64 * 4;
        let count = carried_fields(self.rule.method().fields()) as u64;
        self.download_scratch(encoder, "what is carried", start..start + count, count > 0)
    }

    /// Records a copy of what skipping depends on: four values, the loss scale of the next step, one over that
    /// of the last step, 1 if the last step was taken or 0, and the number of steps skipped so far.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`] where no step is skipped.
    pub fn download_skips(&self, encoder: &mut CommandEncoder) -> Result<Download, Error> {
        let skipped = SKIPPED..SKIPPED + 1;
        let parts = [SCALE..SCALE + 3, skipped];
        self.download_scratch_parts(encoder, "skipped steps", &parts, self.wrappers.skips())
    }

    /// The loss scale of the next step, on the device: for the host's kernels to multiply the loss, or its
    /// gradient, by. Bind the buffer from offset 0 on, as `var<storage, read_write> scratch: array<vec4<f32>>` or
    /// read-only; the scale is `scratch[1].x`. Only the optimizer writes it.
    ///
    /// `None` without loss scaling.
    pub fn loss_scale(&self) -> Option<&wgpu::Buffer> {
        self.built.scratch.as_ref().filter(|_| self.wrappers.loss_scale.is_some())
    }

    fn download_scratch(
        &self,
        encoder: &mut CommandEncoder,
        what: &str,
        words: Range<u64>,
        kept: bool,
    ) -> Result<Download, Error> {
        self.download_scratch_parts(encoder, what, &[words], kept)
    }

    fn download_scratch_parts(
        &self,
        encoder: &mut CommandEncoder,
        what: &str,
        parts: &[Range<u64>],
        kept: bool,
    ) -> Result<Download, Error> {
        let part = |scratch: &wgpu::Buffer, words: &Range<u64>| {
            (scratch.clone(), words.start * ELEMENT, (words.end - words.start) * ELEMENT)
        };
        match &self.built.scratch {
            Some(scratch) if kept => {
                let parts: Vec<_> = parts.iter().map(|words| part(scratch, words)).collect();
                Ok(copy_out(&self.device, encoder, &parts))
            }
            _ => Err(Error::UnknownSlot {
                rule: self.rule.method().name().into(),
                slot: format!("{what}, which this optimizer does not have,"),
                kept: self.slots().join(", "),
            }),
        }
    }

    /// Bytes on the device beyond parameters, gradients and slots: tables with their rings of host
    /// scalars, partial sums, and padding in the slots. See also [`ParamSet::overhead_bytes`](crate::ParamSet::overhead_bytes).
    pub fn overhead_bytes(&self) -> u64 {
        let tables: u64 = self.built.windows.iter().map(|window| window.table.size()).sum();
        let norms = self.built.scratch.as_ref().map_or(0, wgpu::Buffer::size);
        let elements: u64 = self.pieces.iter().flatten().map(|piece| piece.len).sum();
        let lines = self.built.lines.as_ref();
        let line_bytes = lines.map_or(0, |(buffer, _)| buffer.size());
        let kept = lines.map_or(0, |(_, lines)| lines.kept as u64 * ELEMENT);
        let slots = elements * u64::from(self.layout.total()) * ELEMENT + kept;
        let count = self.counts.as_ref().map_or(0, |_| ELEMENT);
        tables + self.built.now.size() + norms + line_bytes - kept + count + self.state_bytes() - slots
    }

    /// Bytes of the slots on the device.
    pub fn state_bytes(&self) -> u64 {
        let kept = self.built.lines.as_ref().map_or(0, |(_, lines)| lines.kept as u64 * ELEMENT);
        let slots = self.built.windows.iter().flat_map(|window| &window.state).map(wgpu::Buffer::size);
        kept + slots.sum::<u64>()
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
        let slices = self.slot(tensor, slot)?;
        let part = |slice: &BufferSlice<'_>| (slice.buffer().clone(), slice.offset(), slice.size());
        Ok(copy_out(&self.device, encoder, &slices.iter().map(part).collect::<Vec<_>>()))
    }

    /// Where a slot of a tensor lies, f32, for kernels of the caller's that read it: one slice, or several, one
    /// behind the other, of a ring and of a tensor that more than one dispatch updates. Where an offset is less
    /// aligned than the device wants of a binding, a kernel can bind the whole buffer and start there.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`], [`Error::UnknownHandle`].
    pub fn slot(&self, tensor: TensorId, slot: &str) -> Result<Vec<BufferSlice<'_>>, Error> {
        let (index, count) = (tensor.index, self.shapes.len());
        let pieces = self.pieces.get(index).filter(|_| tensor.set == self.set);
        let pieces = pieces.ok_or(Error::UnknownHandle { what: "tensor", index, count })?;
        let method = self.rule.method();
        let index = self.slot_names().position(|name| name == slot);
        if let Some(lines) = index.and_then(|slot| self.lines_of(slot, tensor.index())) {
            return Ok(lines);
        }
        let place = index.and_then(|slot| Some((self.layout.place(slot)?, self.layout.depths[slot])));
        let Some(((buffer, rank), depth)) = place else {
            let kept = self.slots().join(", ");
            return Err(Error::UnknownSlot { rule: method.name().into(), slot: slot.into(), kept });
        };
        let slice = |rank: u32, piece: &Piece| {
            let window = &self.built.windows[piece.window];
            let start = (u64::from(rank) * window.state_len + piece.state) * ELEMENT;
            window.state[buffer].slice(start..start + piece.len * ELEMENT)
        };
        let ranks = rank..rank + depth;
        Ok(ranks.flat_map(|rank| pieces.iter().map(move |piece| slice(rank, piece))).collect())
    }

    /// Where the rows or columns of a tensor are, if that is what this slot keeps.
    fn lines_of(&self, slot: usize, tensor: usize) -> Option<Vec<BufferSlice<'_>>> {
        let kind = *self.rule.method().slot_kinds().get(slot)?;
        let Some((buffer, lines)) = self.built.lines.as_ref() else {
            return (kind != SlotKind::Element).then(Vec::new); // only tensors without elements
        };
        let [rows, columns, _] = lines.places[tensor];
        let at = match kind {
            SlotKind::Element => return None,
            SlotKind::Rows => rows,
            SlotKind::Columns => columns,
        };
        let count = Matrices::of(&self.shapes[tensor]).lines(kind);
        let range = at as u64 * ELEMENT..(at + count) as u64 * ELEMENT;
        // A slice must not be empty, as the columns of a vector are.
        Some(if count > 0 { vec![buffer.slice(range)] } else { vec![] })
    }

    /// The slots that this optimizer allocated, in the order of the rule's `State`.
    pub fn slots(&self) -> Vec<&'static str> {
        let method = self.rule.method();
        let is_line =
            |slot: usize| method.slot_kinds().get(slot).is_some_and(|kind| *kind != SlotKind::Element);
        let names = self.slot_names().zip(&self.layout.depths).enumerate();
        names.filter(|(slot, (_, depth))| **depth > 0 || is_line(*slot)).map(|(_, (name, _))| name).collect()
    }

    /// Every slot that the rule and the wrappers may have.
    fn slot_names(&self) -> impl Iterator<Item = &'static str> {
        self.rule.method().slots().iter().chain(&WRAPPER_SLOTS).copied()
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
        crate::readback::read_blocking(&self.device, queue, |encoder| {
            self.download_slot(encoder, tensor, slot)
        })
    }
}
