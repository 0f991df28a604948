//! Negative controls: a wrong line in any text that all rules share (tiles, access, reductions, rows and columns, what
//! stands around a rule) is noticed by the comparison that the rules are held to.

mod common;

use common::run::{BINDABLE, Home, Run, gradients, parameters, resolve};
use common::{Gpu, gpu_main, trial};
use std::collections::BTreeSet;
use std::path::Path;
use wgpu_optim::{AnyRule, Lookahead, LossScale, NonFinite, Options, Wrappers};

const STEPS: u64 = 8;
/// Awkward sizes: one element, less than a vec4, a ragged end, a whole tile, several tiles; as
/// vectors, a convolution's kernel, and matrices one and two at a time.
const TENSORS: [(usize, usize); 8] =
    [(1, 0), (1500, 1), (3, 0), (1024, 0), (7, 0), (9001, 1), (4095, 1), (4096, 0)];

/// Matrices whose rows are multiples of four, for what is only there without others: 2 x 32 x 64, 3 x 4, 9 x 12.
const FOURS: [(usize, usize); 3] = [(4096, 0), (12, 1), (108, 1)];
/// Two small matrices beside one another, and two that are added up in several parts: 2 x 4 x 9, 2 x 300 x 600.
const PARTS: [(usize, usize); 2] = [(72, 1), (360_000, 0)];

/// A wrong text: `find` stands once in each module that has it.
struct Mutant {
    /// The file in `shaders/core`.
    file: &'static str,
    find: &'static str,
    replace: &'static str,
    /// Its name, or its JSON.
    rule: &'static str,
    around: fn() -> Wrappers,
    home: Home,
}

fn plain() -> Wrappers {
    Wrappers::default()
}

fn clipped() -> Wrappers {
    Wrappers { max_grad_norm: Some(50.0), ..plain() }
}

fn tensors_clipped() -> Wrappers {
    Wrappers { max_tensor_norm: Some(20.0), max_grad_value: Some(1.0), ..plain() }
}

fn cautious() -> Wrappers {
    Wrappers { cautious: true, ..plain() }
}

fn averaged() -> Wrappers {
    Wrappers { ema: Some(0.7), lookahead: Some(Lookahead { k: 3, alpha: 0.4 }), ..plain() }
}

fn zeroed() -> Wrappers {
    Wrappers { zero_grad: true, ..plain() }
}

/// Skips whatever is not finite, of which there is nothing, and never changes its scale.
fn skipping() -> Wrappers {
    let scale = LossScale { initial: 1.0, growth: 1.0, ..LossScale::default() };
    Wrappers { non_finite: NonFinite::Skip, loss_scale: Some(scale), ..plain() }
}

const UNALIGNED: Home = Home::Own { gap: 3 };

fn mutants() -> Vec<Mutant> {
    let mut all = vec![];
    let mut add = |file, rule, around: fn() -> Wrappers, home, texts: &[(&'static str, &'static str)]| {
        let mutant = |&(find, replace)| Mutant { file, find, replace, rule, around, home };
        all.extend(texts.iter().map(mutant));
    };
    add(
        "tiles",
        "adam",
        plain,
        BINDABLE,
        &[
            ("tile.steps = word & ~EVALUATES;", "tile.steps = (word & ~EVALUATES) + 1u;"),
            ("place_of_count(steps, counted.w) * counted.z", "0u"),
            ("return counted.y + place_of_count(steps, counted.w) * counted.z;", "return counted.y;"),
            ("tile.row = 3u + now.rows + group * table[0].z;", "tile.row = 3u + now.rows;"),
            ("lane % lanes,", "lane % (lanes / 2u),"),
        ],
    );
    add(
        "tiles",
        "adafactor",
        plain,
        BINDABLE,
        &[("return select(vec4<f32>(0.0), x, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(live));", "return x;")],
    );
    add(
        "apply",
        "adam",
        plain,
        BINDABLE,
        &[
            ("table[table[1].z + tile.counter / 4u][tile.counter % 4u] = next_count(tile, row);", ""),
            ("4u * i < tile.count; i += tile.lanes", "4u * i < tile.count; i += 2u * tile.lanes"),
            ("let acts = !trains || taken();", "let acts = !trains;"),
        ],
    );
    add(
        "access_vec4",
        "adam",
        plain,
        BINDABLE,
        &[
            ("params[at][lane] = theta[lane];", "params[at][lane] = theta[0];"),
            ("lane < live; lane++", "lane + 1u < live; lane++"),
            ("masked(grads[tile.grad / 4u + i], live)", "masked(grads[tile.grad / 4u], live)"),
            ("masked(params[tile.param / 4u + i], live)", "masked(params[tile.param / 4u], live)"),
        ],
    );
    add(
        "access_single",
        "adam",
        plain,
        UNALIGNED,
        &[
            (
                "theta[lane] = params[tile.param + 4u * i + lane];",
                "theta[lane] = params[tile.param + 4u * i];",
            ),
            (
                "params[tile.param + 4u * i + lane] = theta[lane];",
                "params[tile.param + 4u * i + lane] = theta.x;",
            ),
            ("g[lane] = grads[tile.grad + 4u * i + lane];", "g[lane] = grads[tile.grad + i + lane];"),
        ],
    );
    add(
        "clear_vec4",
        "adam",
        zeroed,
        BINDABLE,
        &[
            ("grads[tile.grad / 4u + i] = vec4<f32>(0.0);", "grads[tile.grad / 4u + i] = vec4<f32>(1.0);"),
            ("grads[at / 4u][at % 4u] = 0.0;", ""),
        ],
    );
    add("clear_single", "adam", zeroed, UNALIGNED, &[("grads[tile.grad + element] = 0.0;", "")]);
    add(
        "reduce",
        "sgd",
        clipped,
        BINDABLE,
        &[
            ("scratch[place + term] = sum;", "scratch[place + term] = 0.5 * sum;"),
            ("for (var other = 1u; other < WIDTH; other++)", "for (var other = 2u; other < WIDTH; other++)"),
            ("i < end; i += tile.lanes", "i + tile.lanes < end; i += tile.lanes"),
            ("vec4<f32>(0.0, dot(x, x), 0.0, 0.0)", "vec4<f32>(0.0, dot(x.xyz, x.xyz), 0.0, 0.0)"),
            ("let place = table[1].x + (table[1].y + tile.index) * TERMS;", "let place = table[1].x;"),
        ],
    );
    add("reduce", "prodigy", plain, BINDABLE, &[("dot(finite_part(x), vec4<f32>(1.0))", "finite_part(x).x")]);
    add(
        "reduce",
        r#"{"optimizer": "adashift", "keep": 2}"#,
        plain,
        BINDABLE,
        &[
            ("max(max(max(into.parts.x, y.x), max(y.y, y.z)), y.w)", "max(max(into.parts.x, y.x), y.y)"),
            ("select(a + b, max(a, b), ((LARGEST_OF >> term) & 1u) != 0u)", "a + b"),
        ],
    );
    add(
        "combine",
        "sgd",
        clipped,
        BINDABLE,
        &[
            (
                "vec4<f32>(value, sum.w, given.size, f32(given.exponent))",
                "vec4<f32>(value, sum.w, 1.0, f32(given.exponent))",
            ),
            (
                "vec4<f32>(value, sum.w, given.size, f32(given.exponent))",
                "vec4<f32>(value, sum.w, given.size, 0.0)",
            ),
            ("let there = tile < segment.y;", "let there = tile + 1u < segment.y;"),
            ("square = sum.y + scaled(sum.z, -174);", "square = 1.1 * sum.y;"),
        ],
    );
    add(
        "combine",
        "lamb",
        plain,
        BINDABLE,
        &[
            ("scratch[segment.z] = results;", "scratch[segment.z] = vec4<f32>(1.0);"),
            ("results[term] = value_of(sum, term);", "results[0] = value_of(sum, term);"),
        ],
    );
    add(
        "combine",
        "sgd",
        skipping,
        BINDABLE,
        &[
            ("let take = bad == 0.0;", "let take = bad != 0.0;"),
            ("next = clamp(next, 0x1p-40, 0x1p60);", "next = 2.0;"),
        ],
    );
    add("scaled", "sgd", clipped, BINDABLE, &[("(bits & 0x007fffffu)", "(bits & 0x0003ffffu)")]);
    add(
        "factored",
        "adafactor",
        plain,
        BINDABLE,
        &[
            // Of matrices in fours, and of others.
            (
                "let divided = word_at(m.row_place + row) / word_at(m.mean_place + matrix);",
                "let divided = 1.0;",
            ),
            ("let line = m.column_place + matrix * m.columns", "let line = m.column_place + m.columns"),
            ("let share = word_at(m.row_place + row) / word_at(m.mean_place + matrix);", "let share = 1.0;"),
            ("word_at(m.row_place + row + 1u)", "word_at(m.row_place + row)"),
            ("/ word_at(m.mean_place + behind);", "/ word_at(m.mean_place);"),
            ("vec4<f32>(next_share), in_next)", "vec4<f32>(next_share), vec4<bool>(false))"),
            ("vec4<u32>((behind - 1u) * m.columns)", "vec4<u32>(behind * m.columns)"),
            ("select(columns, vec4<f32>(1.0), vector),", "columns,"),
            ("at.row) / word_at(m.mean_place + matrix);", "at.row);"),
            ("let column = at.column + u32(i == 0u);", "let column = at.column;"),
            (
                "word_at(m.column_place + matrix_of(m, at) * m.columns + at.column)",
                "word_at(m.column_place + at.column)",
            ),
            (
                "return (outer * m.rows * m.between + places % m.between) * m.columns",
                "return (outer * m.rows * m.between) * m.columns",
            ),
        ],
    );
    add(
        "reduce_factored",
        "adafactor",
        plain,
        BINDABLE,
        &[
            ("let end = min(entry.z + CHUNK, length);", "let end = min(entry.z + CHUNK, length - 1u);"),
            ("let step = select(m.inner, stride, columns);", "let step = select(stride, m.inner, columns);"),
            (
                "let length = select(m.columns, m.rows, columns);",
                "let length = select(m.rows, m.columns, columns);",
            ),
        ],
    );
    add(
        "average_factored",
        "adafactor",
        plain,
        BINDABLE,
        &[
            ("select(m.columns, m.rows, columns));", "select(m.rows, m.columns, columns));"),
            ("let old = factored[at];", "let old = vec4<f32>(0.0);"),
            ("lane / QUADS", "0u"),
            ("let eight = first + second;", "let eight = first;"),
            ("select(0u, part, there) * QUADS + quad;", "quad;"),
        ],
    );
    add(
        "average_matrices",
        "adafactor",
        plain,
        BINDABLE,
        &[
            ("/ f32(m.rows));", "/ f32(m.columns));"),
            ("let rows = m.row_place + matrix * m.rows;", "let rows = m.row_place + matrix;"),
        ],
    );
    add(
        "reduce_matrices",
        "adafactor",
        plain,
        BINDABLE,
        &[
            ("sum += c;", ""),
            ("k * deep < rows_left", "k * deep + deep < rows_left"),
            ("min(ROWS * deep, rows_left)", "min(ROWS * deep, rows_left - 1u)"),
            ("part < TURNS;", "part < TURNS - 1u;"),
            ("eight += fours[", "eight = fours["),
            ("eight += totals[", "eight = totals["),
            ("let r = first_row + q;", "let r = first_row;"),
        ],
    );
    add(
        "factored_vectors",
        "adafactor",
        plain,
        BINDABLE,
        &[("factored[(m.row_place + element) / 4u] = lines.rows;", "")],
    );
    add("device_scalars", "prodigy", plain, BINDABLE, &[("scratch[DEVICE_SCALARS] = ", "_ = ")]);
    add(
        "wrappers",
        "adam",
        averaged,
        BINDABLE,
        &[
            ("slow + e.alpha * (theta - slow)", "slow + 0.5 * (theta - slow)"),
            ("ema + e.one_minus_decay * (theta - ema)", "ema + e.alpha * (theta - ema)"),
        ],
    );
    add(
        "wrappers",
        "adam",
        tensors_clipped,
        BINDABLE,
        &[
            ("return twice * factor.value;", "return twice;"),
            ("if (scaled(max_norm, -exponent - before.exponent) >= size * before.value) {", "if (false) {"),
        ],
    );
    add(
        "wrappers",
        "adam",
        cautious,
        BINDABLE,
        &[
            ("select(zero, vec4<f32>(1.0), agreeing)", "vec4<f32>(1.0)"),
            ("return 1.0 / max(agreeing / count, 1e-3);", "return 1.0;"),
        ],
    );
    all
}

/// Whether the steps of a mutant differ from those of the reference, or leave gradients where there should be zeros.
fn noticed(gpu: &Gpu, mutant: &Mutant) -> bool {
    let mut there = false;
    for tensors in [&TENSORS[..], &FOURS, &PARTS] {
        let found = differs(gpu, mutant, tensors);
        there |= found.is_some();
        if found == Some(true) {
            return true;
        }
    }
    assert!(there, "'{}' stands in no module", mutant.find);
    false
}

/// The same for some tensors; nothing if the line is not there.
fn differs(gpu: &Gpu, mutant: &Mutant, tensors: &[(usize, usize)]) -> Option<bool> {
    let rule = mutant.rule;
    let config = if rule.starts_with('{') { AnyRule::from_json(rule) } else { AnyRule::named(rule) }.unwrap();
    let mut slower = config.clone();
    slower.set("lr", 0.5 * config.get("lr").unwrap()).unwrap();
    let mut options = Options::default();
    options.wrappers = (mutant.around)();
    let mut found = 0;
    let mut run = Run::altered(gpu, &[config, slower], tensors, mutant.home, &options, |program| {
        for module in &mut program.modules {
            let count = module.wgsl.matches(mutant.find).count();
            assert!(count <= 1, "'{}' stands {count} times in {}", mutant.find, module.label);
            found += count;
            module.wgsl = module.wgsl.replace(mutant.find, mutant.replace);
        }
    });
    if found == 0 {
        return None;
    }
    let lens: Vec<usize> = tensors.iter().map(|(len, _)| *len).collect();
    run.write_theta(&parameters(1, &lens));
    let mut words = run.read();
    for step in 0..STEPS {
        let (after, worst) = run.checked_step(&words, &gradients(2, step, &lens));
        if worst.units > 1.0 || worst.units.is_nan() {
            return Some(true);
        }
        if options.wrappers.zero_grad {
            let mut encoder = gpu.encoder();
            let ids = run.tensors.iter();
            let left = ids.map(|id| run.params.download_grad(&mut encoder, *id).unwrap()).collect();
            gpu.submit(encoder);
            if resolve(gpu, left).concat().iter().any(|g| *g != 0.0) {
                return Some(true);
            }
        }
        words = after;
    }
    Some(false)
}

fn main() {
    gpu_main("core_mutants", |adapter| {
        let mut trials = vec![trial(adapter, "every shared text has mutants", |_| every_text())];
        // Nothing is noticed where nothing is wrong.
        for (tensors, kind) in [(&TENSORS[..], "of all kinds"), (&FOURS, "in fours"), (&PARTS, "in parts")] {
            trials.push(trial(adapter, format!("no wrong line, matrices {kind}"), move |gpu| {
                let (file, find) = ("factored", "fn find_matrices");
                let home = BINDABLE;
                let none = Mutant { file, find, replace: find, rule: "adafactor", around: plain, home };
                assert_eq!(differs(gpu, &none, tensors), Some(false));
            }));
        }
        for mutant in mutants() {
            let name = format!("{}: {} -> {}", mutant.file, mutant.find, mutant.replace);
            trials.push(trial(adapter, name, move |gpu| {
                assert!(noticed(gpu, &mutant), "not noticed");
            }));
        }
        trials
    });
}

/// But for two that only declare: the record and the scratch buffer.
fn every_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/core");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    let with: BTreeSet<String> = mutants().iter().map(|mutant| mutant.file.to_string()).collect();
    let without: Vec<&String> = files.difference(&with).collect();
    // Wrong lines of row_masks.wgsl and row_runs.wgsl are in row_masks.rs.
    assert_eq!(without, ["now", "row_masks", "row_runs", "scratch"]);
    assert!(with.is_subset(&files));
    for mutant in mutants() {
        let text = std::fs::read_to_string(folder.join(format!("{}.wgsl", mutant.file))).unwrap();
        assert!(text.contains(mutant.find), "{} has '{}'", mutant.file, mutant.find);
    }
}
