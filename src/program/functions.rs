//! The functions that the texts of `shaders/core` call and that follow from a step: what is loaded, what of it the rule sees,
//! what is stored.

use super::passes::{PassKind, REDUCE_AGREEMENT, REDUCE_GRADIENTS, REDUCE_RULE};
use super::rows::FieldPlace;
use super::step::{SCRATCH_HEADER, Step};
use crate::rule::{FieldKind, Scope, SlotKind};

/// The expression of the results of a pass for the tile's tensor.
fn results_of_tensor(step: &Step<'_>, pass: &str) -> String {
    let first = step.reduction(pass).and_then(|reduction| reduction.tensor).unwrap_or_default();
    format!("scratch[{first}u + {}u * tile.tensor]", step.results_of_tensor)
}

/// `struct Row` and `load_row`: a group's host scalars, and what was reduced before this pass.
pub(super) fn load_row(step: &Step<'_>, kind: &PassKind) -> String {
    let rows = &step.rows;
    let now = (0..rows.now_vec4).map(|at| format!("let n{at} = table[tile.row + {at}u];"));
    let counted = (0..rows.counted_vec4).map(|at| format!("let c{at} = table[tile.counted_row + {at}u];"));
    let mut lines: Vec<String> = now.chain(counted).collect();
    let results = step.reduction(REDUCE_RULE).filter(|_| kind.needs.results);
    if let Some(reduction) = results {
        let place = match (step.spec.scope, reduction.all) {
            (Scope::All, Some(all)) => format!("scratch[{all}u]"),
            _ => results_of_tensor(step, REDUCE_RULE),
        };
        lines.push(format!("let results = {place};"));
    }
    let device = step.has_device_scalars() && kind.needs.device;
    if device {
        lines.push(format!("let device = scratch[{SCRATCH_HEADER}u];"));
    }
    let (mut result, mut scalar) = (LANES.iter(), LANES.iter());
    let fields = step.spec.fields.iter().zip(&rows.fields);
    let words: Vec<String> = fields
        .map(|(field, (_, place))| {
            let word = match place {
                FieldPlace::Now(at) => word("n", *at),
                FieldPlace::Counted(at) => word("c", *at),
                FieldPlace::Device => String::new(),
            };
            match field.kind {
                FieldKind::Real | FieldKind::Counted | FieldKind::Flag | FieldKind::CountedFlag => {
                    as_field(field.kind, word)
                }
                FieldKind::First => "u32(tile.steps == 0u)".into(),
                FieldKind::Device if device => format!("device.{}", scalar.next().unwrap_or(&"x")),
                FieldKind::Device => "0.0".into(),
                _ if results.is_some() => format!("results.{}", result.next().unwrap_or(&"x")),
                // Reduced by this very pass, by a later one, or not at all.
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
    // Once for a tile: the table may be written, so a compiler would read it again for each vec4.
    if step.spec.is_factored() && kind.needs.elements {
        declared.push("matrices: Matrices");
        members.push("find_matrices(tile.tensor)".into());
    }
    let wrappers = &step.wrappers;
    if wrappers.scales_gradients() {
        let given =
            |given: bool, value: String, otherwise: &str| if given { value } else { otherwise.into() };
        let all_norm = given(wrappers.max_grad_norm.is_some(), "scratch[0]".into(), "vec4<f32>()");
        let tensor_norm = results_of_tensor(step, REDUCE_GRADIENTS);
        let tensor_norm = given(wrappers.max_tensor_norm.is_some(), tensor_norm, "vec4<f32>()");
        let inverse_scale = given(wrappers.loss_scale.is_some(), "scratch[1].y".into(), "1.0");
        declared.push("factor: Products");
        // No tile has as many elements.
        let zero = "tile.count >> 31u";
        members.push(format!("gradient_factor({all_norm}, {tensor_norm}, {inverse_scale}, now, {zero})"));
    }
    if wrappers.cautious && kind.applies() {
        declared.push("caution: f32");
        lines.push(format!("let agreement = {};", results_of_tensor(step, REDUCE_AGREEMENT)));
        members.push("caution(agreement.x, agreement.y)".into());
    }
    lines.push(format!("return Row({});", members.join(", ")));
    let declared: String = declared.iter().map(|member| format!("    {member},\n")).collect();
    format!("struct Row {{\n{declared}}}\n\n") + &function("fn load_row(tile: Tile) -> Row", &lines)
}

/// A vec4 of gradients as the rule sees it.
fn clipped(step: &Step<'_>) -> &'static str {
    match (step.wrappers.scales_gradients(), step.wrappers.max_grad_value.is_some()) {
        (false, false) => "gradient",
        (true, false) => "multiplied(gradient, row.factor)",
        (false, true) => "clamp(gradient, vec4<f32>(-now.max_value), vec4<f32>(now.max_value))",
        (true, true) => {
            "clamp(multiplied(gradient, row.factor), vec4<f32>(-now.max_value), vec4<f32>(now.max_value))"
        }
    }
}

pub(super) const LANES: [&str; 4] = ["x", "y", "z", "w"];

/// A slot's vec4, as an expression with `at` and `slot_stride`.
fn element(step: &Step<'_>, slot: usize) -> Option<String> {
    let stream = &step.streams[slot];
    let (buffer, rank) = stream.place?;
    Some(match (rank, stream.depth) {
        (0, 1) => format!("state_{buffer}[at]"),
        (_, 1) => format!("state_{buffer}[{rank}u * slot_stride + at]"),
        _ => format!("state_{buffer}[({rank}u + row.ring) * slot_stride + at]"),
    })
}

/// Lines that load the kept slots and make a `State` for each of four elements.
fn load_states(step: &Step<'_>, kind: &PassKind) -> Vec<String> {
    let slots = step.spec.slots;
    let mut lines =
        vec!["let at = tile.state / 4u + i;".to_string(), "let slot_stride = tile.slot_stride;".into()];
    if step.spec.is_factored() {
        lines.push("let matrices = row.matrices;".into());
        lines.push("let element = tile.first + 4u * i;".into());
        // What is not live was averaged before.
        let careful = if kind.applies() { "false" } else { "careful || live == 0u" };
        lines.push(if kind.comes_first(step) {
            format!(
                "let lines = with_vectors(matrices, element, gradient, {}, row, {careful});",
                clipped(step)
            )
        } else {
            "let lines = lines_of(matrices, element);".into()
        });
    }
    for (index, slot) in slots.iter().enumerate() {
        let value = match slot.kind {
            SlotKind::Rows => Some("lines.rows".into()),
            SlotKind::Columns => Some("lines.columns".into()),
            SlotKind::Element => element(step, index),
        };
        lines.extend(value.map(|value| format!("let slot_{} = {value};", slot.name)));
    }
    for lane in LANES {
        let mut values: Vec<String> = slots
            .iter()
            .zip(&step.streams)
            .map(|(slot, stream)| match (slot.kind, stream.place) {
                (SlotKind::Element, None) => "0.0".into(),
                _ => format!("slot_{}.{lane}", slot.name),
            })
            .collect();
        if values.is_empty() {
            // WGSL has no empty structs.
            values.push("0.0".into());
        }
        lines.push(format!("var s_{lane} = State({});", values.join(", ")));
    }
    lines
}

pub(super) fn function(signature: &str, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("{signature} {{\n{body}}}\n")
}

/// The host scalars of a lane: the tile's, or those of its row's own count.
fn scalars_of(step: &Step<'_>, lane: &str) -> String {
    if step.rows_count() { format!("h_{lane}") } else { "row.h".into() }
}

/// Lines that load the host scalars of rows that count their own steps; neighbours mostly have the same.
fn load_scalars_of_lanes(step: &Step<'_>) -> Vec<String> {
    if !step.rows_count() {
        return vec![];
    }
    let mut lines = vec!["var h_x = hyper_at(tile, row, lanes.steps.x);".to_string()];
    for (before, lane) in LANES.iter().zip(&LANES[1..]) {
        let (other, steps) = (format!("lanes.steps.{before}"), format!("lanes.steps.{lane}"));
        lines.push(format!("var h_{lane} = h_{before};"));
        lines.push(format!("if ({steps} != {other}) {{ h_{lane} = hyper_at(tile, row, {steps}); }}"));
    }
    lines
}

/// A tile's host scalars, those that follow from a count for so many steps.
fn hyper_at(step: &Step<'_>) -> String {
    let rows = &step.rows;
    let mut lines = vec!["let counted_row = counted_row_of(tile.counted, steps);".to_string()];
    lines.extend((0..rows.counted_vec4).map(|at| format!("let c{at} = table[counted_row + {at}u];")));
    let fields =
        step.spec.fields.iter().zip(&rows.fields).map(|(field, (_, place))| match (field.kind, place) {
            (FieldKind::First, _) => "u32(steps == 0u)".into(),
            (kind, FieldPlace::Counted(at)) => as_field(kind, word("c", *at)),
            _ => format!("row.h.{}", field.name),
        });
    lines.push(format!("return Hyper({});", fields.collect::<Vec<_>>().join(", ")));
    function("fn hyper_at(tile: Tile, row: Row, steps: u32) -> Hyper", &lines)
}

/// A word of a group's rows, of those that `load_row` and `hyper_at` load.
fn word(row: &str, at: u32) -> String {
    format!("{row}{}.{}", at / 4, LANES[at as usize % 4])
}

/// A word as a field has it.
fn as_field(kind: FieldKind, word: String) -> String {
    if kind.is_flag() { word } else { format!("bitcast<f32>({word})") }
}

/// Lines that evaluate the rule's `step` from `start`.
fn stepped(step: &Step<'_>, kind: &PassKind) -> Vec<String> {
    let mut lines = load_states(step, kind);
    lines.extend(load_scalars_of_lanes(step));
    lines.push(format!("let g = {};", clipped(step)));
    let updates =
        LANES.map(|lane| format!("update(start.{lane}, g.{lane}, &s_{lane}, {})", scalars_of(step, lane)));
    lines.push(format!("let step = vec4<f32>({});", updates.join(", ")));
    lines
}

const CLEAR_ALL: &str = "fn clear(tile: Tile, i: u32, live: u32, lanes: Lanes) {
    clear_gradient(tile, i, live);
}
";
const CLEAR_ACTING: &str = "fn clear(tile: Tile, i: u32, live: u32, lanes: Lanes) {
    for (var lane = 0u; lane < live; lane++) {
        if (lanes.acts[lane]) {
            clear_one(tile, 4u * i + lane);
        }
    }
}
";

/// For rules whose every step trains.
const ONLY_TRAINS: &str = "fn trains(tile: Tile, row: Row) -> bool {
    return true;
}

fn convert_vec4(tile: Tile, i: u32, theta: vec4<f32>, row: Row) -> vec4<f32> {
    return theta;
}

fn next_count(tile: Tile, row: Row) -> u32 {
    return tile.steps + 1u;
}
";

/// For rules that convert weights: whether a step trains, and how a tile remembers which weights it holds.
const CONVERTS: &str = "fn trains(tile: Tile, row: Row) -> bool {
    return !tile.evaluates && !row.evaluates;
}

fn next_count(tile: Tile, row: Row) -> u32 {
    return select(tile.steps + u32(trains(tile, row)), tile.steps | EVALUATES, row.evaluates);
}
";

/// What `apply.wgsl` calls: `update_vec4`, and what it needs of rules that convert weights.
pub(crate) fn apply(step: &Step<'_>, kind: &PassKind) -> String {
    update_vec4(step, kind)
        + "\n"
        + &some_act(step)
        + if step.row_masks.is_some() { CLEAR_ACTING } else { CLEAR_ALL }
        + &if step.rows_count() { hyper_at(step) } else { String::new() }
        + &if step.spec.converts { convert_vec4(step, kind) } else { ONLY_TRAINS.into() }
}

/// Whether there is something to do for four elements. Of rows that rest in the first step, wrappers' slots start then all
/// the same.
fn some_act(step: &Step<'_>) -> String {
    let line = match (step.row_masks, step.starts()) {
        (None, _) => "return true;",
        (Some(_), false) => "return any(lanes.acts);",
        (Some(_), true) => "return any(lanes.acts) || tile.steps == 0u;",
    };
    function("fn some_act(tile: Tile, lanes: Lanes) -> bool", &[line.into()]) + "\n"
}

fn update_vec4(step: &Step<'_>, kind: &PassKind) -> String {
    let slots = step.spec.slots;
    let mut lines = stepped(step, kind);
    let moved = if step.wrappers.cautious { "(row.caution * agrees(step, g)) * step" } else { "step" };
    if step.spec.decays {
        let decays = LANES.map(|lane| format!("decay(start.{lane}, {})", scalars_of(step, lane))).join(", ");
        lines.push(format!("let decayed = vec4<f32>({decays});"));
        lines.push(format!("var theta = start - (decayed + {moved});"));
    } else {
        lines.push(format!("var theta = start - {moved};"));
    }
    lines.push("theta = select(theta, gradient, not_finite(gradient));".into());
    let masked = step.row_masks.is_some();
    // What rests keeps what it has.
    let kept = |old: &str, new: String| {
        if masked { format!("select({old}, {new}, lanes.acts)") } else { new }
    };
    for (index, slot) in slots.iter().enumerate() {
        let values = LANES.map(|lane| format!("s_{lane}.{}", slot.name)).join(", ");
        let new = kept(&format!("slot_{}", slot.name), format!("vec4<f32>({values})"));
        lines.extend(element(step, index).map(|element| format!("{element} = {new};")));
    }
    let [slow, ema] = [0, 1].map(|wrapper| element(step, slots.len() + wrapper));
    lines.extend(if masked { around_lanes(slow, ema) } else { around_all(slow, ema) });
    lines.push(format!("return {};", kept("start", "theta".into())));
    let parameters = "tile: Tile, i: u32, start: vec4<f32>, gradient: vec4<f32>, row: Row, lanes: Lanes";
    function(&format!("fn update_vec4({parameters}) -> vec4<f32>"), &lines)
}

/// Lines for the wrappers' slots, where all that is live acts.
fn around_all(slow: Option<String>, ema: Option<String>) -> Vec<String> {
    let mut lines = vec![];
    if let Some(slow) = slow {
        lines.push(format!("if (tile.steps == 0u) {{ {slow} = start; }}"));
        lines.push("if ((tile.steps + 1u) % now.k == 0u) {".into());
        lines.push(format!("    theta = look_ahead({slow}, theta, now);"));
        lines.push(format!("    {slow} = theta;"));
        lines.push("}".into());
    }
    if let Some(ema) = ema {
        lines.push(format!("{ema} = averaged(select({ema}, start, tile.steps == 0u), theta, now);"));
    }
    lines
}

/// The same where some rows rest: their slots start with the tensor's first step, and stay.
fn around_lanes(slow: Option<String>, ema: Option<String>) -> Vec<String> {
    let mut lines = vec![];
    if let Some(slow) = slow {
        lines.push(format!("let slow = select({slow}, start, tile.steps == 0u);"));
        lines.push(
            "let syncs = lanes.acts & ((lanes.steps + 1u) % vec4<u32>(now.k) == vec4<u32>(0u));".into(),
        );
        lines.push("theta = select(theta, look_ahead(slow, theta, now), syncs);".into());
        lines.push(format!("{slow} = select(slow, theta, syncs);"));
    }
    if let Some(ema) = ema {
        lines.push(format!("let ema = select({ema}, start, tile.steps == 0u);"));
        lines.push(format!("{ema} = select(ema, averaged(ema, theta, now), lanes.acts);"));
    }
    lines
}

/// A rule's conversion of weights.
fn convert_vec4(step: &Step<'_>, kind: &PassKind) -> String {
    let mut lines = vec!["if (tile.evaluates == row.evaluates || tile.steps == 0u) {".to_string()];
    lines.extend(["    return theta;".into(), "}".into()]);
    lines.extend(load_states(step, kind));
    let values = LANES.map(|lane| format!("convert(theta.{lane}, s_{lane}, row.h, row.evaluates)"));
    lines.push(format!("return vec4<f32>({});", values.join(", ")));
    let parameters = "tile: Tile, i: u32, theta: vec4<f32>, row: Row";
    function(&format!("fn convert_vec4({parameters}) -> vec4<f32>"), &lines) + "\n" + CONVERTS
}

/// The function that `reduce.wgsl` calls for each vec4.
fn reduce_vec4(step: &Step<'_>, lines: Vec<String>) -> String {
    let parameters =
        "tile: Tile, i: u32, live: u32, row: Row, careful: bool, sums: ptr<function, array<Sum, TERMS>>";
    let first = step.row_masks.map(|_| {
        ["let lanes = lanes_of(tile, i, live);", "if (!any(lanes.acts)) { return; }"].map(String::from)
    });
    let lines: Vec<String> = first.into_iter().flatten().chain(lines).collect();
    function(&format!("fn reduce_vec4({parameters})"), &lines)
}

/// What of four values takes part, and zeros.
fn acting(step: &Step<'_>, x: &str) -> String {
    if step.row_masks.is_some() { format!("acting({x}, lanes)") } else { format!("masked({x}, live)") }
}

/// Under a loss scale, a gradient that f32 does not hold without it counts as not finite.
pub(crate) fn reduce_gradients(step: &Step<'_>, _: &PassKind) -> String {
    let mut lines = vec!["return Row(LARGEST);".to_string()];
    if step.wrappers.loss_scale.is_some() {
        lines = vec![
            "let ratio = scratch[1].x / now.average;".into(),
            // Less than the largest number by more than the roundings of the division and of the product to come.
            "return Row(select(LARGEST, bitcast<u32>(ratio * 0x1.ffffp127), ratio < 1.0));".into(),
        ];
    }
    let load = function("fn load_row(tile: Tile) -> Row", &lines);
    // What is not live was read as zero.
    let gradient = "load_gradient(tile, i, live)";
    let gradient = if step.row_masks.is_some() { acting(step, gradient) } else { gradient.into() };
    let add = format!("(*sums)[0] = add_squares((*sums)[0], {gradient}, careful, row.largest);");
    format!("struct Row {{\n    largest: u32,\n}}\n\n{load}\n{}", reduce_vec4(step, vec![add]))
}

/// Lines that load a vec4 of parameters and gradients.
fn loaded() -> Vec<String> {
    vec![
        "let start = load_theta(tile, i, live);".into(),
        "let gradient = load_gradient(tile, i, live);".into(),
    ]
}

/// Adds up the rule's terms.
pub(crate) fn reduce_rule(step: &Step<'_>, kind: &PassKind) -> String {
    let mut lines = loaded();
    lines.extend(load_states(step, kind));
    lines.push(format!("let g = {};", clipped(step)));
    for lane in LANES {
        lines.push(format!("let n_{lane} = terms(start.{lane}, g.{lane}, s_{lane}, row.h);"));
    }
    for (i, field) in step.results().enumerate() {
        let values = LANES.map(|lane| format!("n_{lane}.{}", field.name)).join(", ");
        let (add, last) = match field.kind {
            FieldKind::Max => ("add_largest", ""),
            FieldKind::Sum => ("add_plain", ""),
            _ => ("add_squares", ", LARGEST"),
        };
        let x = acting(step, &format!("vec4<f32>({values})"));
        lines.push(format!("(*sums)[{i}] = {add}((*sums)[{i}], {x}, careful{last});"));
    }
    reduce_vec4(step, lines)
}

/// Counts the elements whose step agrees with their gradient, and all of them.
pub(crate) fn reduce_agreement(step: &Step<'_>, kind: &PassKind) -> String {
    let mut lines = loaded();
    lines.extend(stepped(step, kind));
    lines.push(format!("let agreeing = dot({}, vec4<f32>(1.0));", acting(step, "agrees(step, g)")));
    lines.push("(*sums)[0].parts.x += agreeing;".into());
    let masked = step.row_masks.is_some();
    let count = if masked { "dot(acting(vec4<f32>(1.0), lanes), vec4<f32>(1.0))" } else { "f32(live)" };
    lines.push(format!("(*sums)[1].parts.x += {count};"));
    reduce_vec4(step, lines)
}

/// What a step makes of the device scalars.
pub(crate) fn device_scalars(step: &Step<'_>, _: &PassKind) -> String {
    let values = step.spec.device_scalars().map(|field| format!("d.{}", field.name));
    let values: Vec<String> = values.chain(LANES.map(|_| "0.0".into())).take(LANES.len()).collect();
    let lines =
        ["let d = next_device_scalars(row.h);".into(), format!("return vec4<f32>({});", values.join(", "))];
    function("fn device_scalars_after(row: Row) -> vec4<f32>", &lines)
        + &format!("\nconst DEVICE_SCALARS: u32 = {SCRATCH_HEADER}u;\n")
}

/// A gradient as the pass over rows and columns sees it.
pub(crate) fn as_seen(step: &Step<'_>, _: &PassKind) -> String {
    let line = format!("return {};", clipped(step));
    function("fn as_seen(gradient: vec4<f32>, row: Row) -> vec4<f32>", &[line])
}
