//! Composition of a rule's module: frame + access + the lines generated for its slots + the rule.
//! WGSL is free of order, so plain concatenation is all it takes, in any host language.

use crate::layout::SCRATCH_HEADER;
pub use crate::layout::{
    Access, FIXED_BINDINGS, FIXED_STORAGE, Kind, MAX_MEASURED, NOW_BINDING, Place, Rows, SlotLayout,
    WORKGROUP, carries, measured_fields,
};
use crate::rule::{FieldKind, Method, Scope, SlotKind};

/// The whole WGSL module of a rule.
///
/// This is what the library gives to wgpu; write it to a file to use it from another host
/// (`shaders/README.md` has the binding contract).
pub fn compose(method: &dyn Method, layout: &SlotLayout, access: Access, kind: Kind) -> String {
    compose_with(method, method.wgsl(), layout, access, kind)
}

/// The module that combines partial sums. The same for every rule.
pub const COMBINE: &str = concat!(
    include_str!("../shaders/now.wgsl"),
    "\n",
    include_str!("../shaders/scaled.wgsl"),
    "\n",
    include_str!("../shaders/combine.wgsl")
);
/// Entry point of [`COMBINE`].
pub const COMBINE_ENTRY_POINT: &str = "optimizer_combine";
/// Invocations of a workgroup of [`COMBINE`].
pub const COMBINE_WIDTH: usize = 128;

/// As [`compose`], with `wgsl` in the place of the rule's own text.
pub fn compose_with(
    method: &dyn Method,
    wgsl: &str,
    layout: &SlotLayout,
    access: Access,
    kind: Kind,
) -> String {
    let mut parts = vec![
        include_str!("../shaders/now.wgsl").to_string(),
        include_str!("../shaders/scaled.wgsl").to_string(),
        include_str!("../shaders/frame.wgsl").to_string(),
    ];
    let (reads, clears) = match kind.access(access) {
        Access::Quad => {
            (include_str!("../shaders/access_quad.wgsl"), include_str!("../shaders/clear_quad.wgsl"))
        }
        Access::Single => {
            (include_str!("../shaders/access_single.wgsl"), include_str!("../shaders/clear_single.wgsl"))
        }
    };
    if layout.wrappers.zero_gradients {
        // All modules over a window share one bind group layout, so that they share a bind group.
        parts.push(reads.replace("var<storage, read> grads", "var<storage, read_write> grads"));
    } else {
        parts.push(reads.into());
    }
    if matches!(kind, Kind::Apply | Kind::MeasureLines | Kind::AverageLines | Kind::Carry) {
        parts.push(if layout.wrappers.skips() { SKIP.into() } else { NEVER_SKIP.into() });
    }
    if kind == Kind::Apply {
        parts.push(if layout.wrappers.zero_gradients { clears.into() } else { KEEP_GRADIENTS.into() });
    }
    if layout.has_scratch(method) {
        parts.push(include_str!("../shaders/scratch.wgsl").into());
    }
    if layout.is_wrapped() {
        parts.push(include_str!("../shaders/wrappers.wgsl").into());
    }
    let lines = layout.has_lines(method) && kind != Kind::MeasureGradients;
    if lines {
        parts.push(include_str!("../shaders/lines.wgsl").into());
    }
    parts.push(match kind {
        Kind::Apply => include_str!("../shaders/apply.wgsl").into(),
        Kind::MeasureLines => include_str!("../shaders/measure_lines.wgsl").into(),
        Kind::AverageLines => include_str!("../shaders/average_lines.wgsl").into(),
        Kind::AverageMatrices => include_str!("../shaders/average_matrices.wgsl").into(),
        Kind::Carry => include_str!("../shaders/carry.wgsl").into(),
        _ => include_str!("../shaders/measure.wgsl").into(),
    });
    parts.push(generated(method, layout, kind));
    if kind != Kind::MeasureGradients {
        parts.push(wgsl.into());
    }
    parts.join("\n")
}

const KEEP_GRADIENTS: &str = "fn clear_gradient(tile: Tile, i: u32, live: u32) {
}
";
const SKIP: &str = "fn taken() -> bool {
    return scratch[1].z != 0.0;
}
";
const NEVER_SKIP: &str = "fn taken() -> bool {
    return true;
}
";

/// For rules whose every step trains.
const ONLY_TRAINS: &str = "fn trains(tile: Tile, row: Row) -> bool {
    return true;
}

fn convert_quad(tile: Tile, i: u32, theta: vec4<f32>, row: Row) -> vec4<f32> {
    return theta;
}

fn next_count(tile: Tile, row: Row) -> u32 {
    return tile.steps + 1u;
}
";

/// A rule's conversion of weights, and how a tile remembers which ones it holds.
fn convert_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    const REST: &str = "fn trains(tile: Tile, row: Row) -> bool {
    return !tile.evaluates && !row.evaluates;
}

fn next_count(tile: Tile, row: Row) -> u32 {
    return select(tile.steps + u32(trains(tile, row)), tile.steps | EVALUATES, row.evaluates);
}
";
    let mut lines = vec!["if (tile.evaluates == row.evaluates || tile.steps == 0u) {".to_string()];
    lines.extend(["    return theta;".into(), "}".into()]);
    lines.extend(load_states(method, layout));
    let values = LANES.map(|lane| format!("convert(theta.{lane}, s_{lane}, row.h, row.evaluates)"));
    lines.push(format!("return vec4<f32>({});", values.join(", ")));
    let parameters = "tile: Tile, i: u32, theta: vec4<f32>, row: Row";
    function(&format!("fn convert_quad({parameters}) -> vec4<f32>"), &lines) + "\n" + REST
}

/// The part that depends on the rule's fields and slots: bindings, `load_row`, `update_quad`.
fn generated(method: &dyn Method, layout: &SlotLayout, kind: Kind) -> String {
    let head =
        format!("// Generated for {}: its slots' bindings, its row, four lanes at a time.\n", method.name());
    let mut parts = vec![];
    let quantities = layout.quantities(method, kind);
    if !quantities.is_empty() {
        parts.push(measured_constants(&quantities));
    }
    parts.push(bindings(method, layout, kind));
    if !matches!(kind, Kind::MeasureGradients | Kind::AverageMatrices) {
        parts.push(load_row(method, layout, kind));
    }
    match kind {
        Kind::Apply => {
            parts.push(update_quad(method, layout));
            parts.push(if method.converts() { convert_quad(method, layout) } else { ONLY_TRAINS.into() });
        }
        Kind::MeasureRule => parts.push(measure_quad(method, layout)),
        Kind::MeasureAgreement => parts.push(agreement_quad(method, layout)),
        Kind::MeasureGradients => parts.push(measure_gradients(layout)),
        Kind::MeasureLines => parts.push(function(
            "fn as_seen(gradient: vec4<f32>, row: Row) -> vec4<f32>",
            &[format!("return {};", clipped(layout))],
        )),
        Kind::Carry => parts.push(carried(method)),
        Kind::AverageLines | Kind::AverageMatrices => {}
    }
    format!("{head}\n{}", parts.join("\n"))
}

/// The number of quantities, and which of them are largest magnitudes.
fn measured_constants(quantities: &[FieldKind]) -> String {
    let largest = (0..).zip(quantities).filter(|(_, kind)| **kind == FieldKind::Max);
    let largest: u32 = largest.map(|(i, _): (u32, _)| 1 << i).sum();
    format!("const MEASURED: u32 = {}u;\nconst LARGEST_OF: u32 = {largest}u;\n", quantities.len())
}

/// Parameters of the functions that measure a quad.
const MEASURING: &str =
    "tile: Tile, i: u32, live: u32, row: Row, careful: bool, sums: ptr<function, array<Sum, MEASURED>>";

/// Under a loss scale, a gradient that f32 does not hold without it counts as not finite.
fn measure_gradients(layout: &SlotLayout) -> String {
    let mut lines = vec!["return Row(LARGEST);".to_string()];
    if layout.wrappers.loss_scale.is_some() {
        lines = vec![
            "let ratio = scratch[1].x / now.average;".into(),
            // Less than the largest number by more than the roundings of the division and of the product to come.
            "return Row(select(LARGEST, bitcast<u32>(ratio * 0x1.ffffp127), ratio < 1.0));".into(),
        ];
    }
    let load = function("fn load_row(tile: Tile) -> Row", &lines);
    format!("struct Row {{\n    largest: u32,\n}}\n\n{load}\n{MEASURE_GRADIENTS}")
}

const MEASURE_GRADIENTS: &str = "fn measure_quad(
    tile: Tile,
    i: u32,
    live: u32,
    row: Row,
    careful: bool,
    sums: ptr<function, array<Sum, MEASURED>>,
) {
    (*sums)[0] = add_squares((*sums)[0], load_gradient(tile, i, live), careful, row.largest);
}
";

fn bindings(method: &dyn Method, layout: &SlotLayout, kind: Kind) -> String {
    let storage = |binding: u32, name: &str, element: &str| {
        format!("@group(0) @binding({binding}) var<storage, read_write> {name}: array<{element}>;\n")
    };
    let first = layout.first_state_binding(method);
    let states = if kind.sees_slots() { layout.buffers as u32 } else { 0 };
    let mut text: String =
        (0..states).map(|i| storage(first + i, &format!("state_{i}"), "vec4<f32>")).collect();
    if layout.has_lines(method) && kind != Kind::MeasureGradients {
        text += &storage(layout.lines_binding(method), "lines", "f32");
    }
    text
}

/// `struct Row` and `load_row`: a group's host scalars, and what was measured before this dispatch.
fn load_row(method: &dyn Method, layout: &SlotLayout, kind: Kind) -> String {
    let rows = Rows::new(method, layout);
    let now = (0..rows.now_quads()).map(|quad| format!("let n{quad} = table[tile.row + {quad}u];"));
    let counted =
        (0..rows.counted_quads()).map(|quad| format!("let c{quad} = table[tile.counted_row + {quad}u];"));
    let mut lines: Vec<String> = now.chain(counted).collect();
    let of_tensor = |kind| {
        let (first, step) = (layout.result(method, kind), layout.results_of_tensor(method));
        format!("scratch[{first}u + {step}u * tile.tensor]")
    };
    let known = matches!(kind, Kind::Apply | Kind::MeasureAgreement | Kind::Carry)
        && layout.measured(method).next().is_some();
    if known {
        let found = match method.scope() {
            Scope::Tensor => of_tensor(Kind::MeasureRule),
            Scope::All => format!("scratch[{}u]", layout.result(method, Kind::MeasureRule)),
        };
        lines.push(format!("let found = {found};"));
    }
    // Lines are averaged without it, on the CPU too.
    let carried = carries(method) && !matches!(kind, Kind::MeasureLines | Kind::AverageLines);
    if carried {
        lines.push(format!("let carried = scratch[{SCRATCH_HEADER}u];"));
    }
    let (mut measured, mut kept) = (LANES.iter(), LANES.iter());
    let word = |row: &str, at: usize| format!("{row}{}.{}", at / 4, LANES[at % 4]);
    let words: Vec<String> = method
        .fields()
        .iter()
        .zip(&rows.places)
        .map(|(field, place)| {
            let word = match place {
                Place::Now(at) => word("n", *at),
                Place::Counted(at) => word("c", *at),
                Place::Device => String::new(),
            };
            match field.kind {
                FieldKind::Real | FieldKind::Counted => format!("bitcast<f32>({word})"),
                FieldKind::Flag | FieldKind::CountedFlag => word,
                FieldKind::First => "u32(tile.steps == 0u)".into(),
                FieldKind::Carried if carried => format!("carried.{}", kept.next().unwrap_or(&"x")),
                FieldKind::Carried => "0.0".into(),
                _ if known => format!("found.{}", measured.next().unwrap_or(&"x")),
                // Measured by this very dispatch, by a later one, or not at all.
                _ => "0.0".into(),
            }
        })
        .collect();
    let mut declared = vec!["h: Hyper"];
    let mut members = vec![format!("Hyper({})", words.join(", "))];
    if let Some(at) = rows.ring {
        declared.push("ring: u32");
        members.push(format!("tile.steps % {}", word("n", at)));
    }
    if let Some(at) = rows.evaluates {
        declared.push("evaluates: bool");
        members.push(format!("{} != 0u", word("n", at)));
    }
    // Once for a tile: the table may be written, so a compiler would read it again for each quad.
    if layout.has_lines(method) && kind.sees_slots() {
        declared.push("matrices: Matrices");
        members.push("find_matrices(tile.tensor)".into());
    }
    if layout.wrappers.scales_gradients() {
        let wrappers = &layout.wrappers;
        let given =
            |given: bool, value: String, otherwise: &str| if given { value } else { otherwise.into() };
        let all_norm = given(wrappers.max_grad_norm.is_some(), "scratch[0]".into(), "vec4<f32>()");
        let tensor_norm =
            given(wrappers.max_tensor_norm.is_some(), of_tensor(Kind::MeasureGradients), "vec4<f32>()");
        let inverse_scale = given(wrappers.loss_scale.is_some(), "scratch[1].y".into(), "1.0");
        declared.push("factor: Factor");
        members.push(format!("gradient_factor({all_norm}, {tensor_norm}, {inverse_scale}, now)"));
    }
    if layout.wrappers.cautious && kind == Kind::Apply {
        declared.push("caution: f32");
        lines.push(format!("let agreement = {};", of_tensor(Kind::MeasureAgreement)));
        members.push("caution(agreement.x, agreement.y)".into());
    }
    lines.push(format!("return Row({});", members.join(", ")));
    let declared: String = declared.iter().map(|member| format!("    {member},\n")).collect();
    format!("struct Row {{\n{declared}}}\n\n") + &function("fn load_row(tile: Tile) -> Row", &lines)
}

/// A quad of gradients as the rule sees it.
fn clipped(layout: &SlotLayout) -> &'static str {
    match (layout.wrappers.scales_gradients(), layout.wrappers.max_grad_value.is_some()) {
        (false, false) => "gradient",
        (true, false) => "multiplied(gradient, row.factor)",
        (false, true) => "clamp(gradient, vec4<f32>(-now.max_value), vec4<f32>(now.max_value))",
        (true, true) => {
            "clamp(multiplied(gradient, row.factor), vec4<f32>(-now.max_value), vec4<f32>(now.max_value))"
        }
    }
}

const LANES: [&str; 4] = ["x", "y", "z", "w"];

/// A slot's quad, as an expression with `at` and `slot_stride`.
fn element(layout: &SlotLayout, slot: usize) -> Option<String> {
    let (buffer, rank) = layout.place(slot)?;
    Some(match (rank, layout.depths[slot]) {
        (0, 1) => format!("state_{buffer}[at]"),
        (_, 1) => format!("state_{buffer}[{rank}u * slot_stride + at]"),
        _ => format!("state_{buffer}[({rank}u + row.ring) * slot_stride + at]"),
    })
}

/// Lines that load the kept slots and make a `State` for each lane.
fn load_states(method: &dyn Method, layout: &SlotLayout) -> Vec<String> {
    let slots = method.slots();
    let mut lines =
        vec!["let at = tile.state / 4u + i;".to_string(), "let slot_stride = tile.slot_stride;".into()];
    if layout.has_lines(method) {
        lines.push("let matrices = row.matrices;".into());
        lines.push("let element = tile.first + 4u * i;".into());
    }
    for (slot, name) in slots.iter().enumerate() {
        let value = match method.slot_kinds()[slot] {
            SlotKind::Rows => Some("rows_of(matrices, element)".into()),
            SlotKind::Columns => Some("columns_of(matrices, element)".into()),
            SlotKind::Element => element(layout, slot),
        };
        lines.extend(value.map(|value| format!("let slot_{name} = {value};")));
    }
    for lane in LANES {
        let value = |(slot, name): (usize, &&str)| match (method.slot_kinds()[slot], layout.place(slot)) {
            (SlotKind::Element, None) => "0.0".into(),
            _ => format!("slot_{name}.{lane}"),
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

/// Lines that evaluate the rule's `step` from `start`.
fn stepped(method: &dyn Method, layout: &SlotLayout) -> Vec<String> {
    let mut lines = load_states(method, layout);
    lines.push(format!("let g = {};", clipped(layout)));
    let updates = LANES.map(|lane| format!("update(start.{lane}, g.{lane}, &s_{lane}, row.h)"));
    lines.push(format!("let step = vec4<f32>({});", updates.join(", ")));
    lines
}

fn update_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    let slots = method.slots();
    let mut lines = stepped(method, layout);
    let step = if layout.wrappers.cautious { "(row.caution * agrees(step, g)) * step" } else { "step" };
    if method.decays() {
        let decays = LANES.map(|lane| format!("decay(start.{lane}, row.h)")).join(", ");
        lines.push(format!("let decayed = vec4<f32>({decays});"));
        lines.push(format!("var theta = start - (decayed + {step});"));
    } else {
        lines.push(format!("var theta = start - {step};"));
    }
    lines.push("theta = select(theta, gradient, not_finite(gradient));".into());
    for (slot, name) in slots.iter().enumerate() {
        let values = LANES.map(|lane| format!("s_{lane}.{name}")).join(", ");
        lines.extend(element(layout, slot).map(|element| format!("{element} = vec4<f32>({values});")));
    }
    if let Some(slow) = element(layout, slots.len()) {
        lines.push(format!("if (tile.steps == 0u) {{ {slow} = start; }}"));
        lines.push("if ((tile.steps + 1u) % now.k == 0u) {".into());
        lines.push(format!("    theta = look_ahead({slow}, theta, now);"));
        lines.push(format!("    {slow} = theta;"));
        lines.push("}".into());
    }
    if let Some(ema) = element(layout, slots.len() + 1) {
        lines.push(format!("{ema} = average(select({ema}, start, tile.steps == 0u), theta, now);"));
    }
    lines.push("return theta;".into());
    let parameters = "tile: Tile, i: u32, start: vec4<f32>, gradient: vec4<f32>, row: Row";
    function(&format!("fn update_quad({parameters}) -> vec4<f32>"), &lines)
}

/// Lines that load a quad.
fn loaded() -> Vec<String> {
    vec![
        "let start = load_theta(tile, i, live);".into(),
        "let gradient = load_gradient(tile, i, live);".into(),
    ]
}

fn measure_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    let mut lines = loaded();
    lines.extend(load_states(method, layout));
    lines.push(format!("let g = {};", clipped(layout)));
    for lane in LANES {
        lines.push(format!("let n_{lane} = measure(start.{lane}, g.{lane}, s_{lane}, row.h);"));
    }
    for (i, field) in layout.measured(method).enumerate() {
        let values = LANES.map(|lane| format!("n_{lane}.{}", field.name)).join(", ");
        let (add, last) = match field.kind {
            FieldKind::Max => ("add_largest", ""),
            FieldKind::Sum => ("add_plain", ""),
            _ => ("add_squares", ", LARGEST"),
        };
        let x = format!("masked(vec4<f32>({values}), live)");
        lines.push(format!("(*sums)[{i}] = {add}((*sums)[{i}], {x}, careful{last});"));
    }
    function(&format!("fn measure_quad({MEASURING})"), &lines)
}

/// What a step makes of the carried fields.
fn carried(method: &dyn Method) -> String {
    let fields = method.fields().iter().filter(|field| field.kind == FieldKind::Carried);
    let values = fields.map(|field| format!("c.{}", field.name)).chain(LANES.map(|_| "0.0".into()));
    let values: Vec<String> = values.take(LANES.len()).collect();
    let lines = ["let c = carry(row.h);".into(), format!("return vec4<f32>({});", values.join(", "))];
    function("fn carried_after(row: Row) -> vec4<f32>", &lines)
        + &format!("\nconst CARRIED: u32 = {SCRATCH_HEADER}u;\n")
}

fn agreement_quad(method: &dyn Method, layout: &SlotLayout) -> String {
    let mut lines = loaded();
    lines.extend(stepped(method, layout));
    lines.push("(*sums)[0] = add_plain((*sums)[0], masked(agrees(step, g), live), careful);".into());
    lines.push("(*sums)[1] = add_plain((*sums)[1], masked(vec4<f32>(1.0), live), careful);".into());
    function(&format!("fn measure_quad({MEASURING})"), &lines)
}
