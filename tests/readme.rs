//! Claim: the README's table of rules is what the registry, the shaders and lavapipe say.
//! `UPDATE_README=1` writes it.

mod common;

use common::run::{BINDABLE, Run, Worst, check};
use common::{Gpu, describe, gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::Entry;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Options};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const START: &str = "<!-- rules -->\n";
const END: &str = "<!-- /rules -->";

/// Authors, title and year of the first source that a shader's head names.
fn source(wgsl: &str) -> String {
    let head: Vec<&str> = wgsl.lines().map_while(|line| line.strip_prefix("//")).map(str::trim).collect();
    let text = head.join(" ");
    let text = text.split("Source: ").nth(1).expect("a source");
    let year = text.as_bytes().windows(4).position(|digits| digits.iter().all(u8::is_ascii_digit));
    text[..year.expect("a year") + 4].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Slots kept and bytes read and written a parameter.
fn cost(config: &AnyRule) -> (Vec<String>, u64) {
    // Parameter and gradient are read, the parameter is written; of each slot one value is read and written.
    // A rule with norms reads parameter, gradient and, if its terms need them, slots once more; one with rows
    // and columns reads the gradient once for each.
    let program = common::program(config);
    (program.slot_names().map(Into::into).collect(), program.bytes_per_parameter)
}

fn worst(gpu: &Gpu, entry: &Entry) -> f64 {
    let mut worst = Worst::default();
    for config in (entry.variants)() {
        worst.merge(check(gpu, &config, BINDABLE, &Options::default(), 10));
    }
    worst.units
}

/// What one gradient of 1e20, between gradients of 1, does to a parameter that starts at 1.
fn after_a_huge_gradient(gpu: &Gpu, entry: &Entry) -> &'static str {
    let config = (entry.default)();
    let mut run = Run::new(gpu, &[config], &[(1, 0)], BINDABLE, &Options::default());
    run.write_theta(&[vec![1.0]]);
    let mut path = vec![1.0];
    for step in 0..60 {
        run.step(&[vec![if step == 20 { 1e20 } else { 1.0 }]]);
        path.push(run.read().theta[0][0]);
    }
    let moves = |steps: &[f32]| steps.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(moves(&path[..20]) > 5, "{}: it moves before", entry.name);
    let last = path[60];
    match (last, moves(&path[50..])) {
        _ if !last.is_finite() => "NaN",
        _ if last.abs() > 1e6 => "thrown far away",
        (_, 0) => "stands still",
        _ => "goes on",
    }
}

fn row(gpu: &Gpu, entry: &Entry, worst: f64) -> String {
    let costs = (entry.variants)().into_iter().chain([(entry.default)()]).map(|config| cost(&config).1);
    let (least, most) = costs.fold((u64::MAX, 0), |(least, most), bytes| (least.min(bytes), most.max(bytes)));
    let range = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    let (slots, _) = cost(&(entry.default)());
    let state = if slots.is_empty() { "none".into() } else { slots.join(", ") };
    let presets: String = entry.presets.iter().map(|(name, _)| format!(", `{name}`")).collect();
    let source = source((entry.default)().rule().spec().wgsl);
    let huge = after_a_huge_gradient(gpu, entry);
    format!("| `{}`{presets} | {source} | {state} | {range} | {worst:.2} | {huge} |\n", entry.name)
}

fn main() {
    gpu_main("readme", |adapter| {
        // The errors are lavapipe's; elsewhere there is nothing to compare with.
        if describe(adapter) != "llvmpipe [Vulkan]" {
            let other = trial(adapter, "the table is lavapipe's", |_| unreachable!("ignored"));
            return vec![other.with_ignored_flag(true)];
        }
        vec![trial(adapter, "the table of rules is true", |gpu| {
            let readme = std::fs::read_to_string(README).unwrap();
            let (before, rest) = readme.split_once(START).expect("the table's start");
            let (table, after) = rest.split_once(END).expect("the table's end");
            let mut rows = String::from(
                "| rule | source | state by default | bytes | worst error | after 1e20 |\n|---|---|---|---|---|---|\n",
            );
            for entry in REGISTRY {
                rows += &row(gpu, entry, worst(gpu, entry));
            }
            if std::env::var("UPDATE_README").is_ok() {
                std::fs::write(README, format!("{before}{START}{rows}{END}{after}")).unwrap();
            } else {
                assert_eq!(table, rows, "run UPDATE_README=1 cargo test --release --test readme");
            }
        })]
    });
}
