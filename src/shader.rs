//! Composition of a rule's module: frame + access + the lines generated for its slots + the rule.
//! WGSL is free of order, so plain concatenation is all it takes, in any host language.

use crate::rule::{FieldKind, Method};
use std::fmt::Write;

/// Invocations of a workgroup, as `WORKGROUP` in `shaders/frame.wgsl`. Every wave size divides it, and on
/// software adapters, which start each invocation in turn, a small one makes small tiles cheap.
pub const WORKGROUP: u32 = 64;
/// Entry point of every composed module.
pub const ENTRY_POINT: &str = "optimizer_step";
/// Binding of the first state buffer; before it come table, parameters and gradients.
pub const FIRST_STATE_BINDING: u32 = 3;

/// How a window's parameters and gradients are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// As vec4: tiles start at multiples of four elements.
    Quad,
    /// One by one: any four-byte aligned range.
    Single,
}

/// Where the slots of a rule live: `kept[i]` says whether slot `i` exists, and the existing ones are
/// dealt round robin to `buffers` storage buffers (fewer than slots where the device has few bindings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    /// One for each slot of the rule.
    pub kept: Vec<bool>,
    /// Number of state buffers.
    pub buffers: usize,
}

impl SlotLayout {
    /// The state buffer of slot `slot` and its place in that buffer, in units of the slot stride.
    pub fn place(&self, slot: usize) -> Option<(usize, usize)> {
        if !self.kept.get(slot).copied().unwrap_or(false) {
            return None;
        }
        let rank = self.kept[..slot].iter().filter(|kept| **kept).count();
        Some((rank % self.buffers, rank / self.buffers))
    }

    /// Existing slots.
    pub fn count(&self) -> usize {
        self.kept.iter().filter(|kept| **kept).count()
    }

    /// Slots in state buffer `buffer`.
    pub fn slots_in(&self, buffer: usize) -> usize {
        (0..self.kept.len()).filter(|slot| self.place(*slot).is_some_and(|(at, _)| at == buffer)).count()
    }
}

/// The vec4 that one group's row of host scalars takes in the table.
pub fn row_quads(method: &dyn Method) -> usize {
    method.fields().len().div_ceil(4)
}

/// The whole WGSL module of a rule.
///
/// This is what the library gives to wgpu; write it to a file to use it from another host
/// (`shaders/README.md` has the binding contract).
pub fn compose(method: &dyn Method, layout: &SlotLayout, access: Access) -> String {
    compose_with(method, method.wgsl(), layout, access)
}

/// As [`compose`], with `wgsl` in the place of the rule's own text.
pub fn compose_with(method: &dyn Method, wgsl: &str, layout: &SlotLayout, access: Access) -> String {
    let access = match access {
        Access::Quad => include_str!("../shaders/access_quad.wgsl"),
        Access::Single => include_str!("../shaders/access_single.wgsl"),
    };
    let frame = include_str!("../shaders/frame.wgsl");
    format!("{frame}\n{access}\n{}\n{wgsl}", generated(method, layout))
}

/// The part that depends on the rule's fields and slots: bindings, `load_hyper`, `update_quad`.
fn generated(method: &dyn Method, layout: &SlotLayout) -> String {
    let mut out = format!(
        "// Generated for {}: its slots' bindings, its row, four lanes at a time.\n\n",
        method.name()
    );
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{text}");
    };

    for buffer in 0..layout.buffers {
        let binding = FIRST_STATE_BINDING as usize + buffer;
        line(format_args!(
            "@group(0) @binding({binding}) var<storage, read_write> state_{buffer}: array<vec4<f32>>;"
        ));
    }

    line(format_args!("\nfn load_hyper(row: u32) -> Hyper {{"));
    for quad in 0..row_quads(method) {
        line(format_args!("    let q{quad} = table[row + {quad}u];"));
    }
    let fields: Vec<String> = method
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let word = format!("q{}.{}", i / 4, ["x", "y", "z", "w"][i % 4]);
            match field.kind {
                FieldKind::Real => format!("bitcast<f32>({word})"),
                FieldKind::Flag => word,
            }
        })
        .collect();
    line(format_args!("    return Hyper({});\n}}\n", fields.join(", ")));

    line(format_args!(
        "fn update_quad(theta: vec4<f32>, g: vec4<f32>, at: u32, slot_stride: u32, h: Hyper) -> vec4<f32> {{"
    ));
    let slots = method.slots();
    let element = |slot: usize| {
        layout.place(slot).map(|(buffer, rank)| match rank {
            0 => format!("state_{buffer}[at]"),
            _ => format!("state_{buffer}[{rank}u * slot_stride + at]"),
        })
    };
    for (slot, name) in slots.iter().enumerate() {
        if let Some(element) = element(slot) {
            line(format_args!("    let slot_{name} = {element};"));
        }
    }
    let lanes = ["x", "y", "z", "w"];
    for lane in lanes {
        let mut values: Vec<String> = slots
            .iter()
            .enumerate()
            .map(|(slot, name)| match layout.place(slot) {
                Some(_) => format!("slot_{name}.{lane}"),
                None => "0.0".into(),
            })
            .collect();
        if values.is_empty() {
            values.push("0.0".into());
        }
        line(format_args!("    var s_{lane} = State({});", values.join(", ")));
    }
    line(format_args!("    let updated = vec4<f32>("));
    for lane in lanes {
        line(format_args!("        update(theta.{lane}, g.{lane}, &s_{lane}, h),"));
    }
    line(format_args!("    );"));
    for (slot, name) in slots.iter().enumerate() {
        if let Some(element) = element(slot) {
            let values = lanes.map(|lane| format!("s_{lane}.{name}")).join(", ");
            line(format_args!("    {element} = vec4<f32>({values});"));
        }
    }
    line(format_args!("    return updated;\n}}"));
    out
}
