//! A program as a listing that a person can read: every buffer, module, bind group and pass of a step.

use super::{Binding, Buffer, FieldPlace, Program, Slice, Usage};
use std::fmt::{Display, Formatter, Result};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let sizes = self.tensors.iter().map(|tensor| tensor.shape.iter().product::<u64>());
        let (parameters, tensors, groups) = (sizes.sum::<u64>(), self.tensors.len(), self.groups.len());
        writeln!(f, "{}: {parameters} parameters, {tensors} tensors, {groups} groups", self.optimizer)?;
        if !self.wrappers.is_empty() {
            writeln!(f, "around it: {}", self.wrappers.join(", "))?;
        }
        writeln!(f, "version {}, hash {:016x}", self.version, self.hash())?;
        let (bytes, state, overhead) = (self.bytes_per_parameter, self.state_bytes(), self.overhead_bytes());
        writeln!(
            f,
            "{bytes} bytes read and written a parameter; slots {state} bytes, beside them {overhead}"
        )?;
        self.list_buffers(f)?;
        self.list_rows(f)?;
        self.list_modules(f)?;
        self.list_passes(f)?;
        self.list_places(f)
    }
}

impl Program {
    /// A buffer's label without what all have in common.
    fn name(&self, buffer: u32) -> &str {
        let label = self.buffers.get(buffer as usize).map_or("?", |buffer| &buffer.label);
        label.strip_prefix(&self.label).map_or(label, |rest| rest.trim_start_matches([':', ' ']))
    }

    fn slice(&self, slice: &Slice) -> String {
        let name = self.name(slice.buffer);
        let whole = self.buffers.get(slice.buffer as usize).is_some_and(|buffer| buffer.size == slice.size);
        if whole {
            return format!("b{} {name}", slice.buffer);
        }
        format!("b{} {name} [{}..{}]", slice.buffer, slice.offset, slice.offset + slice.size)
    }

    fn list_buffers(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\nbuffers")?;
        for (index, buffer) in (0..).zip(&self.buffers) {
            let Buffer { size, usage, contents, .. } = buffer;
            let usage = match usage {
                Usage::Given => "given by the host",
                Usage::Storage => "storage",
                Usage::Uniform => "uniform",
            };
            let words: u64 = contents.iter().map(|fill| fill.words.len() as u64 * fill.times).sum();
            let filled = if words > 0 { format!(", {words} words filled") } else { String::new() };
            writeln!(f, "  b{index:<3} {size:>12} bytes  {}  ({usage}{filled})", self.name(index))?;
        }
        Ok(())
    }

    fn list_rows(&self, f: &mut Formatter<'_>) -> Result {
        let layout = &self.rows.layout;
        writeln!(f, "\nhost scalars")?;
        let of = |place: fn(&FieldPlace) -> bool| {
            let fields = layout.fields.iter().filter(move |(_, at)| place(at));
            fields.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let set = of(|place| matches!(place, FieldPlace::Now(_)));
        let counted = of(|place| matches!(place, FieldPlace::Counted(_)));
        let device = of(|place| matches!(place, FieldPlace::Device));
        let (places, bytes) = (self.rows.set.places, self.rows.set.stride);
        writeln!(f, "  set        {set}  ({bytes} bytes a step, {places} places)")?;
        if !counted.is_empty() {
            let (places, bytes) = (self.rows.counted.places, self.rows.counted.stride);
            writeln!(f, "  counted    {counted}  ({bytes} bytes a step taken, {places} places)")?;
        }
        if !device.is_empty() {
            writeln!(f, "  on device  {device}")?;
        }
        Ok(())
    }

    fn list_modules(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\nmodules")?;
        for (index, module) in self.modules.iter().enumerate() {
            let label = module.label.strip_prefix(&self.label).unwrap_or(&module.label);
            let (name, lines) = (label.trim_start_matches([':', ' ']), module.wgsl.lines().count());
            writeln!(f, "  m{index:<3} {name}: fn {}, {lines} lines of WGSL", module.entry_point)?;
        }
        writeln!(f, "\nbind groups")?;
        for (index, group) in self.bindings.iter().enumerate() {
            let layout = self.layouts.get(group.layout as usize).map_or(&[][..], Vec::as_slice);
            for (binding, (slice, kind)) in group.slices.iter().zip(layout).enumerate() {
                let kind = match kind {
                    Binding::ReadOnly => "read",
                    Binding::ReadWrite => "read, write",
                    Binding::Record => "uniform, dynamic offset",
                };
                let name = if binding == 0 { format!("g{index}") } else { String::new() };
                writeln!(f, "  {name:<4} {binding}: {}  ({kind})", self.slice(slice))?;
            }
        }
        Ok(())
    }

    fn list_passes(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\na step")?;
        for (index, pass) in self.passes.iter().enumerate() {
            let label = self.modules.get(pass.module as usize).map_or("?", |module| &module.label);
            let name = label.strip_prefix(&self.label).unwrap_or(label).trim_start_matches([':', ' ']);
            let [x, y] = pass.workgroups;
            let (module, group) = (pass.module, pass.bindings);
            writeln!(f, "  {}. {name}: m{module}, g{group}, {x} x {y} workgroups", index + 1)?;
        }
        Ok(())
    }

    /// The first tensor's slots, and what of the whole optimizer can be read.
    fn list_places(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\nto be read")?;
        for reading in &self.readings {
            let slices: Vec<_> = reading.slices.iter().map(|slice| self.slice(slice)).collect();
            writeln!(f, "  {}: {}", reading.name, slices.join(" + "))?;
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            for name in self.slot_names() {
                let slices = self.slot(index, name).unwrap_or_default();
                let slices: Vec<_> = slices.iter().map(|slice| self.slice(slice)).collect();
                writeln!(f, "  {name}/{} {:?}: {}", tensor.name, tensor.shape, slices.join(" + "))?;
            }
        }
        Ok(())
    }
}
