//! Composition of a rule's module: frame + access + the lines generated for its slots + the rule.
//! WGSL is free of order, so plain concatenation is all it takes, in any host language.

use crate::rule::{Field, FieldKind, Method, Scope};
use crate::wrappers::{EXTRA_FIELDS, Wrappers};

/// Invocations of a workgroup, as `WORKGROUP` in `shaders/frame.wgsl`. Every wave size divides it, and on
/// software adapters, which start each invocation in turn, a small one makes small tiles cheap.
pub const WORKGROUP: u32 = 64;
/// Bindings before the slots: table, parameters, gradients; then the scratch buffer where there is one.
pub const FIXED_BINDINGS: u32 = 3;
/// Norms that one rule may have.
pub const MAX_NORMS: usize = 4;

/// What a module does; each kind is a dispatch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Updates.
    Apply,
    /// Sums the squares of the gradients, for clipping.
    MeasureGradients,
    /// Sums the squares of what the rule measures.
    MeasureRule,
}

impl Kind {
    /// Name of the entry point.
    pub fn entry_point(self) -> &'static str {
        match self {
            Kind::Apply => "optimizer_step",
            Kind::MeasureGradients | Kind::MeasureRule => "optimizer_measure",
        }
    }
}

/// How a window's parameters and gradients are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// As vec4: tiles start at multiples of four elements.
    Quad,
    /// One by one: any four-byte aligned range.
    Single,
}

/// Where the slots live: `depths[i]` values of slot `i` (the rule's slots, then the wrappers'), and the
/// existing ones are dealt round robin to `buffers` storage buffers (fewer than slots where the device
/// has few bindings).
#[derive(Debug, Clone, PartialEq)]
pub struct SlotLayout {
    /// Values kept of each slot: 0, 1, or the length of a ring.
    pub depths: Vec<u32>,
    /// Number of state buffers.
    pub buffers: usize,
    /// What stands around the rule.
    pub wrappers: Wrappers,
}

impl SlotLayout {
    /// The state buffer of slot `slot` and its place in that buffer, in units of the slot stride.
    pub fn place(&self, slot: usize) -> Option<(usize, u32)> {
        let mut used = vec![0; self.buffers];
        let existing = self.depths.iter().enumerate().filter(|(_, depth)| **depth > 0);
        for (next, (index, depth)) in existing.enumerate() {
            let buffer = next % self.buffers;
            if index == slot {
                return Some((buffer, used[buffer]));
            }
            used[buffer] += depth;
        }
        None
    }

    /// Existing slots.
    pub fn count(&self) -> usize {
        self.depths.iter().filter(|depth| **depth > 0).count()
    }

    /// The slots in state buffer `buffer`.
    pub fn slots_in(&self, buffer: usize) -> impl Iterator<Item = usize> {
        (0..self.depths.len()).filter(move |slot| self.place(*slot).is_some_and(|(at, _)| at == buffer))
    }

    /// Values in state buffer `buffer`, for each parameter.
    pub fn depth_of(&self, buffer: usize) -> u32 {
        self.slots_in(buffer).map(|slot| self.depths[slot]).sum()
    }

    /// Values kept of all slots, for each parameter.
    pub fn total(&self) -> u32 {
        self.depths.iter().sum()
    }

    /// Whether the row carries `struct Extra`: for a ring or a wrapper.
    pub fn needs_extra(&self, method: &dyn Method) -> bool {
        let ring = self.depths[..method.slots().len()].iter().any(|depth| *depth > 1);
        ring || self.wrappers != Wrappers::default()
    }

    /// Whether there is a scratch buffer: for clipping by norm, or for the rule's own norms.
    pub fn has_scratch(&self, method: &dyn Method) -> bool {
        self.wrappers.max_grad_norm.is_some() || norms(method) > 0
    }

    /// Binding of the first state buffer.
    pub fn first_state_binding(&self, method: &dyn Method) -> u32 {
        FIXED_BINDINGS + u32::from(self.has_scratch(method))
    }
}

/// Norms that a rule measures.
pub fn norms(method: &dyn Method) -> usize {
    method.fields().iter().filter(|field| field.kind == FieldKind::Norm).count()
}

/// The fields of a group's row in the table, in order. Norms keep their place; the device fills them.
pub fn row_fields(method: &dyn Method, layout: &SlotLayout) -> Vec<Field> {
    let extra = if layout.needs_extra(method) { &EXTRA_FIELDS[..] } else { &[] };
    method.fields().iter().chain(extra).copied().collect()
}

/// The vec4 that one group's row takes in the table.
pub fn row_quads(method: &dyn Method, layout: &SlotLayout) -> usize {
    row_fields(method, layout).len().div_ceil(4)
}

/// The whole WGSL module of a rule.
///
/// This is what the library gives to wgpu; write it to a file to use it from another host
/// (`shaders/README.md` has the binding contract).
pub fn compose(method: &dyn Method, layout: &SlotLayout, access: Access, kind: Kind) -> String {
    compose_with(method, method.wgsl(), layout, access, kind)
}

/// The module that combines partial sums. The same for every rule.
pub const COMBINE: &str = include_str!("../shaders/combine.wgsl");
/// Entry point of [`COMBINE`].
pub const COMBINE_ENTRY_POINT: &str = "optimizer_combine";
/// Invocations of a workgroup of [`COMBINE`].
pub const COMBINE_WIDTH: usize = 256;

/// As [`compose`], with `wgsl` in the place of the rule's own text.
pub fn compose_with(
    method: &dyn Method,
    wgsl: &str,
    layout: &SlotLayout,
    access: Access,
    kind: Kind,
) -> String {
    let mut parts = vec![include_str!("../shaders/frame.wgsl").to_string()];
    parts.push(match access {
        Access::Quad => include_str!("../shaders/access_quad.wgsl").into(),
        Access::Single => include_str!("../shaders/access_single.wgsl").into(),
    });
    if layout.has_scratch(method) {
        parts.push(include_str!("../shaders/scratch.wgsl").into());
    }
    if layout.needs_extra(method) {
        parts.push(include_str!("../shaders/wrappers.wgsl").into());
    }
    parts.push(match kind {
        Kind::Apply => include_str!("../shaders/apply.wgsl").into(),
        _ => include_str!("../shaders/measure.wgsl").into(),
    });
    parts.push(generated(method, layout, kind));
    if kind != Kind::MeasureGradients {
        parts.push(wgsl.into());
    }
    parts.join("\n")
}

/// The part that depends on the rule's fields and slots: bindings, `load_row`, `update_quad`.
fn generated(method: &dyn Method, layout: &SlotLayout, kind: Kind) -> String {
    let head =
        format!("// Generated for {}: its slots' bindings, its row, four lanes at a time.\n", method.name());
    let parts = match kind {
        Kind::Apply => {
            vec![bindings(method, layout), load_row(method, layout, kind), update_quad(method, layout)]
        }
        Kind::MeasureRule => {
            vec![bindings(method, layout), load_row(method, layout, kind), measure_quad(method, layout)]
        }
        Kind::MeasureGradients => vec![MEASURE_GRADIENTS.into()],
    };
    format!("{head}\n{}", parts.join("\n"))
}

const MEASURE_GRADIENTS: &str = "const MEASURED: u32 = 1u;

struct Row {
    none: u32,
}

fn load_row(tile: Tile) -> Row {
    return Row();
}

fn measure_quad(tile: Tile, i: u32, live: u32, row: Row, sums: ptr<function, array<vec4<f32>, MEASURED>>) {
    (*sums)[0] = add_squares((*sums)[0], load_gradient(tile, i, live));
}
";

fn bindings(method: &dyn Method, layout: &SlotLayout) -> String {
    let one = |buffer| {
        let binding = layout.first_state_binding(method) as usize + buffer;
        format!("@group(0) @binding({binding}) var<storage, read_write> state_{buffer}: array<vec4<f32>>;\n")
    };
    (0..layout.buffers).map(one).collect()
}

/// `struct Row` and `load_row`: a group's host scalars, and what was measured before this dispatch.
fn load_row(method: &dyn Method, layout: &SlotLayout, kind: Kind) -> String {
    let quads: String = (0..row_quads(method, layout))
        .map(|quad| format!("    let q{quad} = table[tile.row + {quad}u];\n"))
        .collect();
    let mut norm = 0;
    let words: Vec<String> = row_fields(method, layout)
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let word = format!("q{}.{}", i / 4, LANES[i % 4]);
            match field.kind {
                FieldKind::Real => format!("bitcast<f32>({word})"),
                FieldKind::Flag => word,
                // Being measured by this very dispatch.
                FieldKind::Norm if kind == Kind::MeasureRule => "0.0".into(),
                FieldKind::Norm => {
                    norm += 1;
                    format!("norms.{}", LANES[norm - 1])
                }
            }
        })
        .collect();
    let (hyper, rest) = words.split_at(method.fields().len());
    let mut declared = String::from("    h: Hyper,\n");
    let mut members = format!("Hyper({})", hyper.join(", "));
    let mut before = quads;
    if norm > 0 {
        let result = match method.scope() {
            Scope::Tensor => "1u + tile.tensor",
            Scope::All => "1u",
        };
        before += &format!("    let norms = scratch[{result}];\n");
    }
    if layout.needs_extra(method) {
        declared += "    e: Extra,\n";
        before += &format!("    let e = Extra({});\n", rest.join(", "));
        members += ", e";
    }
    if layout.wrappers.max_grad_norm.is_some() {
        declared += "    clip: f32,\n";
        members += ", clip_factor(scratch[0].x, e)";
    }
    format!(
        "struct Row {{\n{declared}}}\n\nfn load_row(tile: Tile) -> Row {{\n{before}    return Row({members});\n}}\n"
    )
}

/// The line that clips a quad of gradients, if any.
fn clipped(layout: &SlotLayout) -> &'static str {
    match (layout.wrappers.max_grad_norm.is_some(), layout.wrappers.max_grad_value.is_some()) {
        (false, false) => "gradient",
        (true, false) => "gradient * row.clip",
        (false, true) => "clamp(gradient, vec4<f32>(-row.e.max_value), vec4<f32>(row.e.max_value))",
        (true, true) => "clamp(gradient * row.clip, vec4<f32>(-row.e.max_value), vec4<f32>(row.e.max_value))",
    }
}

const LANES: [&str; 4] = ["x", "y", "z", "w"];

/// A slot's quad, as an expression with `at` and `slot_stride`.
fn element(layout: &SlotLayout, slot: usize) -> Option<String> {
    let (buffer, rank) = layout.place(slot)?;
    Some(match (rank, layout.depths[slot]) {
        (0, 1) => format!("state_{buffer}[at]"),
        (_, 1) => format!("state_{buffer}[{rank}u * slot_stride + at]"),
        _ => format!("state_{buffer}[({rank}u + row.e.ring) * slot_stride + at]"),
    })
}

/// Lines that load the kept slots and make a `State` for each lane.
fn load_states(method: &dyn Method, layout: &SlotLayout) -> Vec<String> {
    let slots = method.slots();
    let mut lines = vec![];
    for (slot, name) in slots.iter().enumerate() {
        lines.extend(element(layout, slot).map(|element| format!("let slot_{name} = {element};")));
    }
    for lane in LANES {
        let value = |(slot, name): (usize, &&str)| match layout.place(slot) {
            Some(_) => format!("slot_{name}.{lane}"),
            None => "0.0".into(),
        };
        let mut values: Vec<String> = slots.iter().enumerate().map(value).collect();
        if values.is_empty() {
            // WGSL has no empty structs.
            values.push("0.0".into());
        }
        lines.push(format!("var s_{lane} = State({});", values.join(", ")));
    }
    lines
}

fn function(signature: &str, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("{signature} {{\n{body}}}\n")
}

fn update_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    let slots = method.slots();
    let mut lines = load_states(method, layout);
    lines.push(format!("let g = {};", clipped(layout)));
    let updates = LANES.map(|lane| format!("update(start.{lane}, g.{lane}, &s_{lane}, row.h)"));
    lines.push(format!("var theta = vec4<f32>({});", updates.join(", ")));
    lines.push("theta = select(theta, gradient, not_finite(gradient));".into());
    for (slot, name) in slots.iter().enumerate() {
        let values = LANES.map(|lane| format!("s_{lane}.{name}")).join(", ");
        lines.extend(element(layout, slot).map(|element| format!("{element} = vec4<f32>({values});")));
    }
    if let Some(slow) = element(layout, slots.len()) {
        lines.push(format!("if (row.e.first != 0u) {{ {slow} = start; }}"));
        lines.push(format!(
            "if (row.e.sync != 0u) {{ theta = look_ahead({slow}, theta, row.e); {slow} = theta; }}"
        ));
    }
    if let Some(ema) = element(layout, slots.len() + 1) {
        lines.push(format!("{ema} = average(select({ema}, start, row.e.first != 0u), theta, row.e);"));
    }
    lines.push("return theta;".into());
    let parameters = "start: vec4<f32>, gradient: vec4<f32>, at: u32, slot_stride: u32, row: Row";
    function(&format!("fn update_quad({parameters}) -> vec4<f32>"), &lines)
}

fn measure_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    let norms: Vec<&str> = method
        .fields()
        .iter()
        .filter(|field| field.kind == FieldKind::Norm)
        .map(|field| field.name)
        .collect();
    let mut lines = vec![
        "let at = tile.state / 4u + i;".to_string(),
        "let slot_stride = tile.slot_stride;".into(),
        "let theta = load_theta(tile, i, live);".into(),
        "let gradient = load_gradient(tile, i, live);".into(),
    ];
    lines.extend(load_states(method, layout));
    lines.push(format!("let g = {};", clipped(layout)));
    for lane in LANES {
        lines.push(format!("let n_{lane} = measure(theta.{lane}, g.{lane}, s_{lane}, row.h);"));
    }
    for (i, name) in norms.iter().enumerate() {
        let values = LANES.map(|lane| format!("n_{lane}.{name}")).join(", ");
        lines.push(format!("(*sums)[{i}] = add_squares((*sums)[{i}], masked(vec4<f32>({values}), live));"));
    }
    let parameters =
        "tile: Tile, i: u32, live: u32, row: Row, sums: ptr<function, array<vec4<f32>, MEASURED>>";
    let constant = format!("const MEASURED: u32 = {}u;\n\n", norms.len());
    constant + &function(&format!("fn measure_quad({parameters})"), &lines)
}
