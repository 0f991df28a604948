//! What can be read off a program: where slots and readings are, what persists, bytes, limits to ask for.

use super::{Binding, ELEMENT, Limits, Program, Rows, Slice, SlotPlace, TensorPlace, Usage, WORKGROUP};
use crate::error::Error;
use crate::rule::SlotKind;

/// Words that persist from step to step: together they are the state of a run on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persistent {
    /// `m/fc.weight` for a slot of a tensor; `row_steps/fc.weight` for the counts of its rows, in two banks; of a window
    /// `steps/0` for the counts of steps taken and `rows/0` for the host scalars that follow from these; names of readings
    /// for what the whole optimizer keeps.
    pub name: String,
    /// Where they are, one behind the other.
    pub slices: Vec<Slice>,
}

impl Rows {
    /// The words that [`Clock::observe`](super::Clock::observe) wants now and then: the one count of all groups, or one of each
    /// tensor with elements, where these count their own steps.
    pub fn counts(&self) -> Vec<Slice> {
        let first =
            |owner: &super::Owner| owner.counts.first().map(|slice| Slice { size: ELEMENT, ..*slice });
        match self.count {
            None => vec![],
            Some(count) if self.owners.is_empty() => vec![count],
            Some(_) => self.owners.iter().filter_map(first).collect(),
        }
    }
}

impl Program {
    /// Where a slot of a tensor is: one slice, or several, one behind the other, of a ring and of a tensor that more than
    /// one window updates; of a ring the value written at step t at place (t - 1) modulo its length. None for a slot that
    /// the optimizer does not keep.
    pub fn slot(&self, tensor: usize, name: &str) -> Option<Vec<Slice>> {
        let slot = self.slots.iter().find(|slot| slot.name == name && is_kept(slot))?;
        Some(self.slot_slices(self.tensors.get(tensor)?, slot))
    }

    /// The slices of [`slot`](Program::slot), apart for each of the values that are kept of each element.
    pub(crate) fn slot_values(&self, tensor: usize, name: &str) -> Vec<Vec<Slice>> {
        let slices = self.slot(tensor, name).unwrap_or_default();
        let kept = self.slots.iter().find(|slot| slot.name == name).map_or(1, |slot| slot.depth.max(1));
        let each = slices.len().div_ceil(kept as usize).max(1);
        slices.chunks(each).map(<[Slice]>::to_vec).collect()
    }

    pub(super) fn slot_slices(&self, tensor: &TensorPlace, slot: &SlotPlace) -> Vec<Slice> {
        let factored = |which: usize| {
            let place = tensor.factored.map(|places| places[which]).filter(|(_, count)| *count > 0);
            let slice = place.zip(self.factored).map(|((first, count), buffer)| Slice {
                buffer,
                offset: first.saturating_mul(ELEMENT),
                size: count.saturating_mul(ELEMENT),
            });
            slice.into_iter().collect()
        };
        match (slot.kind, slot.place) {
            (SlotKind::Rows, _) => factored(0),
            (SlotKind::Columns, _) => factored(1),
            (SlotKind::Element, None) => vec![],
            (SlotKind::Element, Some((state, rank))) => (rank..rank.saturating_add(slot.depth))
                .flat_map(|rank| {
                    tensor.pieces.iter().map(move |piece| {
                        let window = &self.windows[piece.window as usize];
                        Slice {
                            buffer: window.state[state as usize],
                            offset: u64::from(rank)
                                .saturating_mul(window.stride)
                                .saturating_add(piece.state)
                                .saturating_mul(ELEMENT),
                            size: piece.len.saturating_mul(ELEMENT),
                        }
                    })
                })
                .collect(),
        }
    }

    /// The names of the slots that the optimizer keeps: the rule's in the order of its `State`, then the wrappers'.
    pub fn slot_names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(|slot| is_kept(slot)).map(|slot| slot.name.as_str())
    }

    /// Where a reading is; see [`Program::readings`].
    pub fn reading(&self, name: &str) -> Option<&[Slice]> {
        self.readings.iter().find(|reading| reading.name == name).map(|reading| &reading.slices[..])
    }

    /// Everything on the device that persists from step to step, beside the parameters: slots of every tensor, the counts
    /// of the steps taken, device scalars, the loss scale, skipped steps.
    pub fn persistent(&self) -> Vec<Persistent> {
        let mut all = vec![];
        for slot in self.slots.iter().filter(|slot| is_kept(slot)) {
            all.extend(self.tensors.iter().map(|tensor| Persistent {
                name: format!("{}/{}", slot.name, tensor.name),
                slices: self.slot_slices(tensor, slot),
            }));
        }
        for (tensor, counts) in self.tensors.iter().zip(self.row_masks.iter().flat_map(|masks| &masks.counts))
        {
            all.push(Persistent { name: format!("row_steps/{}", tensor.name), slices: vec![*counts] });
        }
        for (index, window) in self.windows.iter().enumerate() {
            all.push(Persistent { name: format!("steps/{index}"), slices: vec![window.counts] });
            let ring = &self.rows.counted;
            let size = ring.stride * u64::from(ring.places);
            if let Some((buffer, offset)) = ring.at.get(index).copied().filter(|_| size > 0) {
                let slices = vec![Slice { buffer, offset, size }];
                all.push(Persistent { name: format!("rows/{index}"), slices });
            }
        }
        let kept = self.readings.iter().filter(|reading| reading.name != "grad_norm");
        all.extend(
            kept.map(|reading| Persistent { name: reading.name.clone(), slices: reading.slices.clone() }),
        );
        all
    }

    /// All that persists of one tensor alone: its slots and, where it counts its own steps, its counts.
    pub(crate) fn of_tensor(&self, tensor: usize) -> Vec<Slice> {
        let slots = self.slots.iter().filter(|slot| is_kept(slot));
        let slots = slots.flat_map(|slot| self.slot_slices(&self.tensors[tensor], slot));
        let counts = self.rows.owners.get(tensor).into_iter().flat_map(|owner| owner.counts.iter().copied());
        let of_rows = self.row_masks.iter().flat_map(|masks| masks.counts.get(tensor).copied());
        slots.chain(counts).chain(of_rows).collect()
    }

    /// Where the mask of a tensor's rows is; see [`RowMasks`](super::RowMasks).
    ///
    /// # Errors
    /// [`Error::WithoutOption`] without [`Options::row_masks`](super::Options::row_masks), [`Error::UnknownHandle`].
    pub fn row_mask(&self, tensor: usize) -> Result<Slice, Error> {
        let without = Error::WithoutOption { what: "row_mask", option: "row_masks" };
        let masks = &self.row_masks.as_ref().ok_or(without)?.masks;
        let unknown = Error::UnknownHandle { what: "tensor", index: tensor, count: masks.len() };
        masks.get(tensor).copied().ok_or(unknown)
    }

    /// The words of a slice before the first step.
    pub fn first_words(&self, slice: &Slice) -> Vec<u32> {
        let mut words = vec![0; (slice.size / ELEMENT) as usize];
        let Some(buffer) = self.buffers.get(slice.buffer as usize) else { return words };
        let first = slice.offset / ELEMENT;
        for fill in &buffer.contents {
            let (at, len) = (fill.at / ELEMENT, fill.words.len() as u64);
            let end = at.saturating_add(len.saturating_mul(fill.times)).min(first + words.len() as u64);
            for word in at.max(first)..end {
                words[(word - first) as usize] = fill.words[((word - at) % len) as usize];
            }
        }
        words
    }

    /// Bytes of the slots.
    pub fn state_bytes(&self) -> u64 {
        let states = self.windows.iter().flat_map(|window| &window.state);
        let slots: u64 = states.map(|buffer| self.buffers[*buffer as usize].size).sum();
        slots + self.factored_bytes()
    }

    /// Bytes of rows and columns that are kept from step to step.
    fn factored_bytes(&self) -> u64 {
        let places = self.tensors.iter().filter_map(|tensor| tensor.factored);
        places.flatten().map(|(_, count)| count * ELEMENT).sum()
    }

    /// Bytes beyond parameters, gradients and slots: tables with their rings of host scalars, terms, and padding in the
    /// slots. See also [`Tensors::overhead_bytes`](super::Tensors::overhead_bytes).
    pub fn overhead_bytes(&self) -> u64 {
        let made = self.buffers.iter().filter(|buffer| buffer.usage != Usage::Given);
        let depth: u64 = self.slots.iter().map(|slot| u64::from(slot.depth)).sum();
        let elements: u64 =
            self.tensors.iter().flat_map(|tensor| &tensor.pieces).map(|piece| piece.len).sum();
        let slots = elements * depth * ELEMENT + self.factored_bytes();
        made.map(|buffer| buffer.size).sum::<u64>() - slots
    }

    /// The least that a device must allow to run it.
    pub fn limits(&self) -> Limits {
        let sizes = |usage: fn(Usage) -> bool| {
            let buffers = self.buffers.iter().filter(move |buffer| usage(buffer.usage));
            buffers.map(|buffer| buffer.size).max().unwrap_or(0)
        };
        let bound = self.bindings.iter().flat_map(|group| &group.slices).map(|slice| slice.size);
        let storage = |layout: &Vec<Binding>| layout.iter().filter(|kind| **kind != Binding::Record).count();
        let workgroups = self.passes.iter().flat_map(|pass| pass.workgroups).max().unwrap_or(1);
        let width = self.modules.iter().map(|module| module.invocations).max().unwrap_or(WORKGROUP);
        let offsets = self.bindings.iter().flat_map(|group| &group.slices).map(|slice| slice.offset);
        let alignment =
            offsets.filter(|offset| *offset > 0).map(|offset| 1u32 << offset.trailing_zeros().min(31));
        Limits {
            max_buffer_size: sizes(|_| true),
            max_storage_buffer_binding_size: bound.max().unwrap_or(0),
            min_storage_buffer_offset_alignment: alignment.min().unwrap_or(1 << 31),
            max_storage_buffers_per_shader_stage: self.layouts.iter().map(storage).max().unwrap_or(0) as u32,
            max_compute_workgroups_per_dimension: workgroups,
            max_compute_invocations_per_workgroup: width,
            max_compute_workgroup_size_x: width,
            overlapping_bindings: false,
            software: false,
        }
    }
}

/// Rows and columns are kept where the rule has them, whatever a configuration says.
fn is_kept(slot: &SlotPlace) -> bool {
    slot.depth > 0 || slot.kind != SlotKind::Element
}
