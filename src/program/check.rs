//! The hash of a program, and what is checked of one that was read.

use super::limits::need;
use super::record::RECORD_STRIDE;
use super::{
    Binding, FieldPlace, Limits, MaskPlaces, Piece, Program, RowMasks, Slice, Tensors, Usage, VEC4, VERSION,
};
use crate::error::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::hash::{Hash, Hasher};

impl Serialize for Program {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let program = Self::deserialize(deserializer)?;
        program.check().map_err(serde::de::Error::custom)?;
        Ok(program)
    }
}

/// The hash of some bytes, as that of a program is made.
#[cfg(feature = "export")]
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = Fnv(START);
    hasher.write(bytes);
    hasher.finish()
}

/// Where FNV-1a starts.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over bytes in little-endian order, with lengths of 64 bits: the same on every host.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn write_u32(&mut self, x: u32) {
        self.write(&x.to_le_bytes());
    }
    fn write_u64(&mut self, x: u64) {
        self.write(&x.to_le_bytes());
    }
    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64);
    }
    fn write_isize(&mut self, x: isize) {
        self.write_u64(x as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash as text: JSON's numbers do not hold 64 bits everywhere.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{hash:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(|error| D::Error::custom(format!("hash '{text}': {error}")))
    }
}

impl Program {
    /// A number that two programs share if they are the same, on any host and in any process.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The same with the hash of what it holds now: for experiments that change a program, such as a text of its modules.
    pub fn sealed(mut self) -> Self {
        self.hash = self.computed_hash();
        self
    }

    fn computed_hash(&self) -> u64 {
        let Self {
            version,
            optimizer,
            label,
            groups,
            wrappers,
            buffers,
            layouts,
            modules,
            bindings,
            passes,
            rows,
            slots,
            windows,
            factored,
            scratch,
            row_masks,
            part,
            tensors,
            readings,
            bytes_per_parameter,
            hash: _,
        } = self;
        let mut hasher = Fnv(START);
        (version, optimizer, label, groups, wrappers).hash(&mut hasher);
        (buffers, layouts, modules, bindings, passes).hash(&mut hasher);
        (rows, slots, windows, factored, scratch, tensors, readings, bytes_per_parameter).hash(&mut hasher);
        if let Some(row_masks) = row_masks {
            row_masks.hash(&mut hasher);
        }
        if let Some(part) = part {
            part.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Refuses a program of another version, one that was altered, and one whose parts do not fit together.
    ///
    /// # Errors
    /// [`Error::Program`].
    pub fn check(&self) -> Result<(), Error> {
        let refused = |reason: String| Err(Error::Program { reason });
        if self.version != VERSION {
            return refused(format!("version {}; this library reads version {VERSION}", self.version));
        }
        let hash = self.computed_hash();
        if hash != self.hash {
            return refused(format!("hash {:016x}, but its contents have {hash:016x}", self.hash));
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            for fill in &buffer.contents {
                let end = (fill.words.len() as u64 * 4)
                    .checked_mul(fill.times)
                    .and_then(|size| size.checked_add(fill.at));
                if end.is_none_or(|end| end > buffer.size) {
                    return refused(format!("buffer {index} ({}) has contents beyond its end", buffer.label));
                }
            }
        }
        for (index, module) in self.modules.iter().enumerate() {
            if module.layout as usize >= self.layouts.len() {
                return refused(format!("module {index} has layout {}", module.layout));
            }
        }
        for (index, group) in self.bindings.iter().enumerate() {
            let Some(layout) = self.layouts.get(group.layout as usize) else {
                return refused(format!("bind group {index} has layout {}", group.layout));
            };
            if layout.len() != group.slices.len() {
                let (got, wants) = (group.slices.len(), layout.len());
                return refused(format!("bind group {index} binds {got} ranges; its layout has {wants}"));
            }
            for (slice, binding) in group.slices.iter().zip(layout) {
                self.check_slice(slice, &format!("bind group {index}"))?;
                let uniform = self.buffers[slice.buffer as usize].usage == Usage::Uniform;
                if uniform != (*binding == Binding::Record) {
                    return refused(format!(
                        "bind group {index} binds buffer {} as another kind",
                        slice.buffer
                    ));
                }
            }
        }
        for (index, pass) in self.passes.iter().enumerate() {
            let module = self.modules.get(pass.module as usize);
            let group = self.bindings.get(pass.bindings as usize);
            let fits = module.zip(group).is_some_and(|(module, group)| module.layout == group.layout);
            if !fits {
                return refused(format!(
                    "pass {index} runs module {} with bind group {}",
                    pass.module, pass.bindings
                ));
            }
        }
        self.check_rows()?;
        self.check_places()
    }

    /// Refuses a program that was made for other tensors, or needs more than a device allows.
    ///
    /// # Errors
    /// [`Error::Program`], [`Error::Limit`].
    pub fn check_fits(&self, tensors: &Tensors, limits: &Limits) -> Result<(), Error> {
        let refused = |reason: String| Err(Error::Program { reason });
        let given: Vec<_> = self.buffers.iter().filter(|buffer| buffer.usage == Usage::Given).collect();
        let (got, wanted) = (tensors.buffers().len(), given.len());
        if got != wanted {
            return refused(format!(
                "it was made for {wanted} buffers of parameters and gradients, not {got}"
            ));
        }
        for (index, (buffer, given)) in tensors.buffers().iter().zip(given).enumerate() {
            if buffer.size < given.size {
                let (got, wanted) = (buffer.size, given.size);
                return refused(format!("buffer {index} has {got} bytes; it was made for {wanted}"));
            }
        }
        let (got, wanted) = (tensors.tensors().len(), self.tensors.len());
        if got != wanted {
            return refused(format!("it was made for {wanted} tensors, not {got}"));
        }
        for (tensor, place) in tensors.tensors().iter().zip(&self.tensors) {
            let shape = tensor.shape.iter().map(|side| *side as u64);
            if tensor.name != place.name
                || tensor.group != place.group as usize
                || !shape.eq(place.shape.iter().copied())
            {
                return refused(format!(
                    "tensor '{}' of shape {:?} in group {} was made for '{}' of shape {:?} in group {}",
                    tensor.name, tensor.shape, tensor.group, place.name, place.shape, place.group
                ));
            }
        }
        let needs = self.limits();
        let least = |name, needed: u64, limit: u64| need(&self.optimizer, "its program", needed, name, limit);
        least("max_buffer_size", needs.max_buffer_size, limits.max_buffer_size)?;
        least(
            "max_storage_buffer_binding_size",
            needs.max_storage_buffer_binding_size,
            limits.max_storage_buffer_binding_size,
        )?;
        for (name, needed, limit) in [
            (
                "max_storage_buffers_per_shader_stage",
                needs.max_storage_buffers_per_shader_stage,
                limits.max_storage_buffers_per_shader_stage,
            ),
            (
                "max_compute_workgroups_per_dimension",
                needs.max_compute_workgroups_per_dimension,
                limits.max_compute_workgroups_per_dimension,
            ),
            (
                "max_compute_invocations_per_workgroup",
                needs.max_compute_invocations_per_workgroup,
                limits.max_compute_invocations_per_workgroup,
            ),
            (
                "max_compute_workgroup_size_x",
                needs.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_x,
            ),
        ] {
            least(name, needed.into(), limit.into())?;
        }
        if needs.min_storage_buffer_offset_alignment < limits.min_storage_buffer_offset_alignment {
            let (got, wanted) =
                (needs.min_storage_buffer_offset_alignment, limits.min_storage_buffer_offset_alignment);
            return refused(format!("it binds at multiples of {got} bytes; the device wants {wanted}"));
        }
        Ok(())
    }

    fn check_slice(&self, slice: &Slice, what: &str) -> Result<(), Error> {
        let size = self.buffers.get(slice.buffer as usize).map(|buffer| buffer.size);
        let end = slice.offset.checked_add(slice.size);
        if end.is_some_and(|end| size.is_some_and(|size| end <= size)) {
            return Ok(());
        }
        let reason = format!("{what} has bytes {} + {} of buffer {}", slice.offset, slice.size, slice.buffer);
        Err(Error::Program { reason })
    }

    /// The words of a group's rows, and the rings that they stand in.
    fn check_rows(&self) -> Result<(), Error> {
        let rows = &self.rows;
        let refused = |reason: String| Err(Error::Program { reason });
        let fits = |at: u32, vec4: u32| at < vec4.saturating_mul(4);
        for (name, place) in &rows.layout.fields {
            let fits = match place {
                FieldPlace::Now(at) => fits(*at, rows.layout.now_vec4),
                FieldPlace::Counted(at) => fits(*at, rows.layout.counted_vec4),
                FieldPlace::Device => true,
            };
            if !fits {
                return refused(format!("host scalar '{name}' is outside its row"));
            }
        }
        let own = rows.layout.ring.iter().chain(&rows.layout.evaluates).chain(&rows.layout.rests);
        if let Some(at) = own.into_iter().find(|at| !fits(**at, rows.layout.now_vec4)) {
            return refused(format!("word {at} is outside a row"));
        }
        let groups = self.groups.len() as u64;
        let (own, tensors) = (rows.layout.rests.is_some(), self.tensors.len());
        if rows.owners.len() != if own { tensors } else { 0 } {
            return refused(format!("{} of {tensors} tensors own rows", rows.owners.len()));
        }
        if let Some(owner) = rows.owners.iter().find(|owner| u64::from(owner.group) >= groups) {
            return refused(format!("a tensor has the rows of group {}", owner.group));
        }
        let owners = if own { tensors as u64 } else { groups };
        let [set, counted] = [rows.layout.now_vec4, rows.layout.counted_vec4]
            .map(|vec4| owners.saturating_mul(u64::from(vec4)).saturating_mul(VEC4));
        for (name, ring, stride) in [
            ("set", &rows.set, set),
            ("counted", &rows.counted, counted),
            ("records", &rows.records, RECORD_STRIDE),
        ] {
            if ring.places == 0 || ring.stride != stride {
                let (places, got) = (ring.places, ring.stride);
                return refused(format!(
                    "the ring of {name} rows has {places} places of {got} bytes, not {stride}"
                ));
            }
            let size = ring.stride.saturating_mul(ring.places.into());
            for (buffer, offset) in &ring.at {
                let slice = Slice { buffer: *buffer, offset: *offset, size };
                self.check_slice(&slice, &format!("the ring of {name} rows"))?;
            }
        }
        if groups == 0 || rows.records.places != rows.set.places {
            let (records, set) = (rows.records.places, rows.set.places);
            return refused(format!("{groups} groups, {records} records and {set} places of set rows"));
        }
        Ok(())
    }

    /// Slots, counts and readings.
    fn check_places(&self) -> Result<(), Error> {
        let refused = |reason: String| Err(Error::Program { reason });
        let counts = self.rows.owners.iter().flat_map(|owner| &owner.counts);
        for slice in self
            .rows
            .count
            .iter()
            .chain(counts)
            .chain(self.readings.iter().flat_map(|reading| &reading.slices))
        {
            self.check_slice(slice, "a reading")?;
        }
        for window in &self.windows {
            self.check_slice(&window.counts, "a window's counts")?;
            let unknown = |buffer: &&u32| **buffer as usize >= self.buffers.len();
            if let Some(buffer) = window.state.iter().find(unknown) {
                return refused(format!("a window has state buffer {buffer}"));
            }
        }
        for exchange in self.part.iter().flat_map(|part| &part.exchanges) {
            self.check_slice(&exchange.own, "the terms of a part")?;
            self.check_slice(&exchange.all, "the terms of all parts")?;
            if exchange.before as usize >= self.passes.len() || exchange.bytes == 0 {
                return refused("an exchange stands before no pass, or is of nothing".into());
            }
        }
        if let Some(MaskPlaces { kind, masks, counts }) = &self.row_masks {
            let (tensors, own) = (self.tensors.len(), *kind == RowMasks::RowSteps);
            if masks.len() != tensors || counts.len() != if own { tensors } else { 0 } {
                let (masks, counts) = (masks.len(), counts.len());
                return refused(format!("{tensors} tensors have {masks} masks and {counts} counts of rows"));
            }
            for slice in masks.iter().chain(counts) {
                self.check_slice(slice, "a mask of rows")?;
            }
        }
        let fewest = self.windows.iter().map(|window| window.state.len()).min().unwrap_or(usize::MAX);
        for slot in &self.slots {
            if let Some((state, _)) = slot.place.filter(|(state, _)| *state as usize >= fewest) {
                return refused(format!("slot '{}' is in state buffer {state}", slot.name));
            }
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            let unknown = |piece: &&Piece| piece.window as usize >= self.windows.len();
            if let Some(piece) = tensor.pieces.iter().find(unknown) {
                return refused(format!("tensor {index} ({}) has window {}", tensor.name, piece.window));
            }
            for slot in &self.slots {
                for slice in self.slot_slices(tensor, slot) {
                    self.check_slice(&slice, &format!("slot '{}' of '{}'", slot.name, tensor.name))?;
                }
            }
        }
        Ok(())
    }
}
