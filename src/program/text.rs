//! The WGSL of a pass: tiles + access + the pass + the lines generated for the step's streams and scalars + the rule.
//! WGSL is free of order, so plain concatenation is all it takes, in any host language.

use super::Shape;
use super::functions::{LANES, function, load_row};
use super::passes::PassKind;
use super::step::{Access, Reduction, Step};
use crate::rule::FieldKind;

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
        if step.rows_count() { COUNTS_END.into() } else { COUNTS_IN_A_RING.into() },
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
    if !kind.needs_lanes() {
        parts.push(NO_ROWS.into());
    } else {
        parts.push(if step.row_masks.is_some() {
            let own_steps = step.rows_count();
            format!(
                "const OWN_STEPS: bool = {own_steps};\n{}",
                include_str!("../../shaders/core/row_masks.wgsl")
            )
        } else {
            format!("{NO_ROWS}{ALL_ROWS}")
        });
    }
    if step.has_scratch() {
        parts.push(include_str!("../../shaders/core/scratch.wgsl").into());
    }
    if step.wrappers.is_any() {
        parts.push(include_str!("../../shaders/core/wrappers.wgsl").into());
    }
    if step.spec.is_factored() && kind.needs.rule {
        parts.push(include_str!("../../shaders/core/factored.wgsl").into());
        parts.push(factored_constants(step));
        if kind.comes_first(step) {
            parts.push(include_str!("../../shaders/core/factored_vectors.wgsl").into());
        }
    }
    let runs = kind.applies() && step.row_masks.is_some() && step.shape == Shape::Long;
    if runs {
        let (starts, narrow) = (step.starts(), step.narrow);
        parts.push(format!(
            "const STARTS: bool = {starts};\nconst NARROW: bool = {narrow};\n{}",
            include_str!("../../shaders/core/row_runs.wgsl")
        ));
    }
    parts.push(if runs {
        kind.core.replace(LOOP_OF_ALL, LOOP_OF_RUNS)
    } else if kind.applies() && !step.loops {
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

/// What `factored.wgsl` and its passes leave out where no tensor needs it.
fn factored_constants(step: &Step<'_>) -> String {
    let Step { apart, mixed, vectors, cut, turns, .. } = step;
    format!(
        "const APART: bool = {apart};\nconst MIXED: bool = {mixed};\nconst VECTORS: bool = {vectors};\n\
         const CUT: bool = {cut};\nconst TURNS: u32 = {turns}u;\n"
    )
}

const KEEP_GRADIENTS: &str = "fn clear_one(tile: Tile, element: u32) {
}

fn clear_gradient(tile: Tile, i: u32, live: u32) {
}
";
const NO_ROWS: &str = "fn rows_of(tensor: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}

fn start_of(first: u32, rows: vec4<u32>) -> vec2<u32> {
    return vec2<u32>(0u);
}
";
/// All rows take part in all steps: these functions of `row_masks.wgsl` cost nothing.
const ALL_ROWS: &str = "struct Lanes {
    live: u32,
}

fn lanes_of(tile: Tile, i: u32, live: u32) -> Lanes {
    return Lanes(live);
}

fn count_rows(tile: Tile, lanes: Lanes) {
}
";
/// Rows of host scalars for the last so many counts, or for all from 0 on, of which the last stands for all that follow.
const COUNTS_IN_A_RING: &str = "fn place_of_count(steps: u32, places: u32) -> u32 {
    return steps % places;
}
";
const COUNTS_END: &str = "fn place_of_count(steps: u32, places: u32) -> u32 {
    return min(steps, places - 1u);
}
";
/// The loop of `apply.wgsl` over a tile, which is none where each invocation takes one vec4.
const LOOP: &str = "for (var i = tile.lane; 4u * i < tile.count; i += tile.lanes) {";

/// The same with its body, and a loop over runs of rows that act (`row_runs.wgsl`).
const LOOP_OF_ALL: &str = "for (var i = tile.lane; 4u * i < tile.count; i += tile.lanes) {
        let live = min(tile.count - 4u * i, 4u);
        let lanes = lanes_of(tile, i, live);
        if (acts) {
            count_rows(tile, lanes);
        }
        act_on(tile, i, live, row, lanes, trains, acts && some_act(tile, lanes));
    }";
const LOOP_OF_RUNS: &str = "let rows = rows_in(tile);
    if (acts) {
        count_all(tile, rows);
    }
    for (var run = next_run(tile, 0u, rows); run.first < run.end; run = next_run(tile, run.rows, rows)) {
        for (var i = run.first / 4u + tile.lane; 4u * i < run.end; i += tile.lanes) {
            let live = min(tile.count - 4u * i, 4u);
            let lanes = lanes_in(tile, i, live, run);
            act_on(tile, i, live, row, lanes, trains, acts && some_act(tile, lanes));
        }
    }";

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
    if step.row_masks.is_some() && kind.needs_lanes() {
        text += &storage(step.row_words_binding(), "row_words", "u32");
    }
    text
}
