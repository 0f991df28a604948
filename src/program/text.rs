//! The WGSL of a pass: tiles + access + the pass + the lines generated for the step's streams and scalars + the rule.
//! WGSL is free of order, so plain concatenation is all it takes, in any host language.

use super::Shape;
use super::passes::{PassKind, REDUCE_AGREEMENT, REDUCE_GRADIENTS, REDUCE_RULE};
use super::rows::FieldPlace;
use super::step::{Access, Reduction, SCRATCH_HEADER, Step};
use crate::rule::{FieldKind, Scope, SlotKind};

/// The module that combines terms. The same for every rule.
pub(crate) const COMBINE: &str = concat!(
    include_str!("../../shaders/core/now.wgsl"),
    "\n",
    include_str!("../../shaders/core/scaled.wgsl"),
    "\n",
    include_str!("../../shaders/core/combine.wgsl")
);
/// Entry point of [`COMBINE`].
pub(crate) const COMBINE_ENTRY_POINT: &str = "optimizer_combine";

/// The whole text of a pass over windows of this access.
pub(crate) fn module(step: &Step<'_>, kind: &PassKind, access: Access) -> String {
    let mut parts = vec![
        include_str!("../../shaders/core/now.wgsl").to_string(),
        include_str!("../../shaders/core/scaled.wgsl").to_string(),
        include_str!("../../shaders/core/tiles.wgsl").to_string(),
        format!(
            "const WORKGROUP: u32 = {}u;\nconst PACKED: u32 = {}u;\n",
            kind.reach.invocations(step),
            step.packed
        ),
        rests_in(step),
        if step.shape == Shape::Long { COUNTER_APART.into() } else { COUNTER_OF_TILE.into() },
        if step.shape != Shape::Long && kind.applies() { COUNT_SHARED.into() } else { COUNT_READ.into() },
    ];
    let (reads, clears) = match access {
        Access::Vec4 => (
            include_str!("../../shaders/core/access_vec4.wgsl"),
            include_str!("../../shaders/core/clear_vec4.wgsl"),
        ),
        Access::Single => (
            include_str!("../../shaders/core/access_single.wgsl"),
            include_str!("../../shaders/core/clear_single.wgsl"),
        ),
    };
    // All modules over a window share one bind group layout, so that they share a bind group.
    parts.push(if step.writes_grads {
        reads.replace("var<storage, read> grads", "var<storage, read_write> grads")
    } else {
        reads.into()
    });
    if kind.needs.taken {
        parts.push(if step.wrappers.skips() { SKIP.into() } else { NEVER_SKIP.into() });
    }
    if kind.applies() {
        parts.push(if step.wrappers.zero_grad { clears.into() } else { KEEP_GRADIENTS.into() });
        parts.push(if step.shape == Shape::Long { COUNTS_APART.into() } else { COUNTS_OF_TILES.into() });
    }
    if step.has_scratch() {
        parts.push(include_str!("../../shaders/core/scratch.wgsl").into());
    }
    if step.wrappers.is_any() {
        parts.push(include_str!("../../shaders/core/wrappers.wgsl").into());
    }
    if step.spec.is_factored() && kind.needs.rule {
        parts.push(include_str!("../../shaders/core/factored.wgsl").into());
        let Step { apart, cut, .. } = step;
        parts.push(format!("const APART: bool = {apart};\nconst CUT: bool = {cut};\n"));
        if kind.comes_first(step) {
            parts.push(include_str!("../../shaders/core/factored_vectors.wgsl").into());
        }
    }
    parts.push(if kind.applies() && !step.loops {
        kind.core.replace(LOOP, "let i = tile.lane;\n    if (4u * i < tile.count) {")
    } else if step.shape != Shape::Long {
        kind.core.replace(LOOP_OF_PART, FOUR_OF_PART)
    } else {
        kind.core.into()
    });
    let name = step.spec.name;
    parts.push(format!("// Generated for {name}: its slots' bindings, its row, four elements at a time.\n"));
    if let Some(reduction) = step.reduction(kind.name) {
        parts.push(term_constants(reduction));
    }
    parts.push(own_bindings(step, kind));
    if kind.needs.row {
        parts.push(load_row(step, kind));
    }
    parts.push((kind.generated)(step, kind));
    if kind.needs.rule {
        parts.push(step.wgsl.into());
    }
    parts.join("\n")
}

const KEEP_GRADIENTS: &str = "fn clear_gradient(tile: Tile, i: u32, live: u32) {
}
";
/// The loop of `apply.wgsl` over a tile, which is none where each invocation takes one vec4.
const LOOP: &str = "for (var i = tile.lane; 4u * i < tile.count; i += tile.lanes) {";

/// The loop of `reduce.wgsl` over the vec4 of a part, and four at a time, without a branch between their loads: what is
/// behind the end has no live elements.
const LOOP_OF_PART: &str = "for (var i = first; i < end; i += tile.lanes) {
            reduce_vec4(tile, i, min(tile.count - 4u * i, 4u), row, careful, &part);
        }";
const FOUR_OF_PART: &str = "for (var i = first; i < end; i += 4u * tile.lanes) {
            reduce_vec4(tile, i, min(tile.count - 4u * i, 4u), row, careful, &part);
            let a = i + tile.lanes;
            let b = a + tile.lanes;
            let c = b + tile.lanes;
            reduce_vec4(tile, select(i, a, a < end), select(0u, min(tile.count - 4u * a, 4u), a < end), row, careful, &part);
            reduce_vec4(tile, select(i, b, b < end), select(0u, min(tile.count - 4u * b, 4u), b < end), row, careful, &part);
            reduce_vec4(tile, select(i, c, c < end), select(0u, min(tile.count - 4u * c, 4u), c < end), row, careful, &part);
        }";

/// Each invocation has a count of its own.
const COUNTER_APART: &str = "fn counter_of(place: u32, invocation: u32) -> u32 {
    return invocation;
}
";
const COUNTS_APART: &str = "fn counts(tile: Tile) -> bool {
    return true;
}
";
/// A tile has one count.
const COUNTER_OF_TILE: &str = "fn counter_of(place: u32, invocation: u32) -> u32 {
    return place;
}
";
const COUNTS_OF_TILES: &str = "fn counts(tile: Tile) -> bool {
    return tile.lane == 0u;
}
";
/// Nobody writes counts here, or each invocation its own.
const COUNT_READ: &str = "fn count_of(counter: u32, leads: bool, slot: u32) -> u32 {
    return count_at(counter);
}
";
/// The one that writes a tile's count reads it for the others, which takes no barrier of storage: that one would wait for
/// all that is stored.
const COUNT_SHARED: &str = "var<workgroup> counts_of_tiles: array<u32, PACKED>;

fn count_of(counter: u32, leads: bool, slot: u32) -> u32 {
    if (leads) {
        counts_of_tiles[slot] = count_at(counter);
    }
    workgroupBarrier();
    return counts_of_tiles[slot];
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

/// Whether the row of what is set says that a step leaves its owner out.
fn rests_in(step: &Step<'_>) -> String {
    let line = match step.rows.rests {
        Some(at) => format!("return table[row + {}u].{} != 0u;", at / 4, LANES[at as usize % 4]),
        None => "return false;".into(),
    };
    function("fn rests_in(row: u32) -> bool", &[line])
}

/// The number of terms, and which of them are largest magnitudes.
fn term_constants(reduction: &Reduction) -> String {
    let kinds = &reduction.kinds;
    let largest = (0..).zip(kinds).filter(|(_, kind)| **kind == FieldKind::Max);
    let largest: u32 = largest.map(|(i, _): (u32, _)| 1 << i).sum();
    let terms = 0..kinds.len();
    let joined = terms.clone().flat_map(|i| {
        [
            format!("middle &= is_middle((*part)[{i}]);"),
            format!("(*sums)[{i}].parts = join((*sums)[{i}].parts, (*part)[{i}].parts, {i}u);"),
        ]
    });
    let start = std::iter::once("var middle = true;".to_string());
    let joined: Vec<String> = start.chain(joined).chain(["return middle;".into()]).collect();
    let put = terms.map(|i| format!("tree[{i}u * WORKGROUP + lane] = (*sums)[{i}].parts;"));
    let sums = "ptr<function, array<Sum, TERMS>>";
    format!("const TERMS: u32 = {}u;\nconst LARGEST_OF: u32 = {largest}u;\n", kinds.len())
        + &function(&format!("fn join_part(sums: {sums}, part: {sums}) -> bool"), &joined)
        + &function(&format!("fn put_sums(lane: u32, sums: {sums})"), &put.collect::<Vec<_>>())
}

/// The bindings of slots, rows and columns, where the pass has them.
fn own_bindings(step: &Step<'_>, kind: &PassKind) -> String {
    let storage = |binding: u32, name: &str, element: &str| {
        format!("@group(0) @binding({binding}) var<storage, read_write> {name}: array<{element}>;\n")
    };
    let first = step.first_state_binding();
    let states = if kind.needs.elements { step.state_buffers as u32 } else { 0 };
    let mut text: String =
        (0..states).map(|i| storage(first + i, &format!("state_{i}"), "vec4<f32>")).collect();
    if step.spec.is_factored() && kind.needs.rule {
        text += &storage(step.factored_binding(), "factored", "vec4<f32>");
    }
    text
}

/// The expression of the results of a pass for the tile's tensor.
fn results_of_tensor(step: &Step<'_>, pass: &str) -> String {
    let first = step.reduction(pass).and_then(|reduction| reduction.tensor).unwrap_or_default();
    format!("scratch[{first}u + {}u * tile.tensor]", step.results_of_tensor)
}

/// `struct Row` and `load_row`: a group's host scalars, and what was reduced before this pass.
fn load_row(step: &Step<'_>, kind: &PassKind) -> String {
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
    let word = |row: &str, at: u32| format!("{row}{}.{}", at / 4, LANES[at as usize % 4]);
    let fields = step.spec.fields.iter().zip(&rows.fields);
    let words: Vec<String> = fields
        .map(|(field, (_, place))| {
            let word = match place {
                FieldPlace::Now(at) => word("n", *at),
                FieldPlace::Counted(at) => word("c", *at),
                FieldPlace::Device => String::new(),
            };
            match field.kind {
                FieldKind::Real | FieldKind::Counted => format!("bitcast<f32>({word})"),
                FieldKind::Flag | FieldKind::CountedFlag => word,
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

const LANES: [&str; 4] = ["x", "y", "z", "w"];

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

fn function(signature: &str, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("{signature} {{\n{body}}}\n")
}

/// Lines that evaluate the rule's `step` from `start`.
fn stepped(step: &Step<'_>, kind: &PassKind) -> Vec<String> {
    let mut lines = load_states(step, kind);
    lines.push(format!("let g = {};", clipped(step)));
    let updates = LANES.map(|lane| format!("update(start.{lane}, g.{lane}, &s_{lane}, row.h)"));
    lines.push(format!("let step = vec4<f32>({});", updates.join(", ")));
    lines
}

/// What `apply.wgsl` calls: `update_vec4`, and what it needs of rules that convert weights.
pub(crate) fn apply(step: &Step<'_>, kind: &PassKind) -> String {
    update_vec4(step, kind)
        + "\n"
        + &if step.spec.converts { convert_vec4(step, kind) } else { ONLY_TRAINS.into() }
}

fn update_vec4(step: &Step<'_>, kind: &PassKind) -> String {
    let slots = step.spec.slots;
    let mut lines = stepped(step, kind);
    let moved = if step.wrappers.cautious { "(row.caution * agrees(step, g)) * step" } else { "step" };
    if step.spec.decays {
        let decays = LANES.map(|lane| format!("decay(start.{lane}, row.h)")).join(", ");
        lines.push(format!("let decayed = vec4<f32>({decays});"));
        lines.push(format!("var theta = start - (decayed + {moved});"));
    } else {
        lines.push(format!("var theta = start - {moved};"));
    }
    lines.push("theta = select(theta, gradient, not_finite(gradient));".into());
    for (index, slot) in slots.iter().enumerate() {
        let values = LANES.map(|lane| format!("s_{lane}.{}", slot.name)).join(", ");
        lines.extend(element(step, index).map(|element| format!("{element} = vec4<f32>({values});")));
    }
    if let Some(slow) = element(step, slots.len()) {
        lines.push(format!("if (tile.steps == 0u) {{ {slow} = start; }}"));
        lines.push("if ((tile.steps + 1u) % now.k == 0u) {".into());
        lines.push(format!("    theta = look_ahead({slow}, theta, now);"));
        lines.push(format!("    {slow} = theta;"));
        lines.push("}".into());
    }
    if let Some(ema) = element(step, slots.len() + 1) {
        lines.push(format!("{ema} = averaged(select({ema}, start, tile.steps == 0u), theta, now);"));
    }
    lines.push("return theta;".into());
    let parameters = "tile: Tile, i: u32, start: vec4<f32>, gradient: vec4<f32>, row: Row";
    function(&format!("fn update_vec4({parameters}) -> vec4<f32>"), &lines)
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
fn reduce_vec4(lines: &[String]) -> String {
    let parameters =
        "tile: Tile, i: u32, live: u32, row: Row, careful: bool, sums: ptr<function, array<Sum, TERMS>>";
    function(&format!("fn reduce_vec4({parameters})"), lines)
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
    let add = "(*sums)[0] = add_squares((*sums)[0], load_gradient(tile, i, live), careful, row.largest);";
    format!("struct Row {{\n    largest: u32,\n}}\n\n{load}\n{}", reduce_vec4(&[add.into()]))
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
        let x = format!("masked(vec4<f32>({values}), live)");
        lines.push(format!("(*sums)[{i}] = {add}((*sums)[{i}], {x}, careful{last});"));
    }
    reduce_vec4(&lines)
}

/// Counts the elements whose step agrees with their gradient, and all of them.
pub(crate) fn reduce_agreement(step: &Step<'_>, kind: &PassKind) -> String {
    let mut lines = loaded();
    lines.extend(stepped(step, kind));
    lines.push("let agreeing = dot(masked(agrees(step, g), live), vec4<f32>(1.0));".into());
    lines.push("(*sums)[0].parts.x += agreeing;".into());
    lines.push("(*sums)[1].parts.x += f32(live);".into());
    reduce_vec4(&lines)
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
