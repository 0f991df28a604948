//! What norms cost: clipping, trust ratios and masks against plain AdamW, many tensors against one. Every
//! figure is a ratio of two things measured in turns in this run.
//!
//! `cargo bench --bench norms`; `WGPU_OPTIM_ADAPTER=text` chooses an adapter, the first one is the default.

#[path = "support/mod.rs"]
mod support;

use support::{Bench, median, ratio};
use wgpu_optim::{AnyRule, NonFinite, Optimizer, Options, ParamSet, Wrappers};

const ELEMENTS: usize = 1 << 23; // 8.4 M
const ROUNDS: usize = 15;
const MANY: usize = 10_000;

struct Candidate {
    name: &'static str,
    params: ParamSet,
    optimizer: Optimizer<AnyRule>,
}

/// An optimizer of one group over equal tensors; matrices of 1024 columns where there is only one.
fn candidate(bench: &Bench, name: &'static str, rule: &str, wrappers: Wrappers, tensors: usize) -> Candidate {
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    let mut ids = vec![];
    for i in 0..tensors {
        let len = ELEMENTS * (i + 1) / tensors - ELEMENTS * i / tensors;
        let shape = if len.is_multiple_of(1024) { vec![len / 1024, 1024] } else { vec![len] };
        ids.push((builder.tensor(format!("tensor {i}"), shape, group), len));
    }
    let params = builder.build(&bench.device).expect("the arenas");
    let mut options = Options::default();
    options.wrappers = wrappers;
    let rule = AnyRule::named(rule).expect("registered");
    let optimizer = Optimizer::with_options(&bench.device, &bench.queue, &params, [rule], &options)
        .expect("the optimizer");
    for (tensor, len) in ids {
        params.write_grad(&bench.queue, tensor, &vec![0.5; len]).expect("ours");
        params.write_param(&bench.queue, tensor, &vec![0.5; len]).expect("ours");
    }
    Candidate { name, params, optimizer }
}

fn main() {
    let Some(bench) = Bench::open() else { return };
    // `cargo test` runs benches too.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let plain = Wrappers::default();
    let clip = Wrappers { max_grad_norm: Some(1.0), ..plain };
    let each = Wrappers { max_tensor_norm: Some(1.0), ..plain };
    let skip = Wrappers { non_finite: NonFinite::Skip, ..plain };
    let cautious = Wrappers { cautious: true, ..plain };
    let mut candidates = [
        candidate(&bench, "adamw", "adamw", plain, 1),
        candidate(&bench, "adamw, clipped by norm", "adamw", clip, 1),
        candidate(&bench, "adamw, each tensor clipped", "adamw", each, 1),
        candidate(&bench, "adamw, skips what is not finite", "adamw", skip, 1),
        candidate(&bench, "cautious adamw", "adamw", cautious, 1),
        candidate(&bench, "lamb", "lamb", plain, 1),
        candidate(&bench, "lars", "lars", plain, 1),
        candidate(&bench, "adafactor", "adafactor", plain, 1),
        candidate(&bench, "stable_adamw", "stable_adamw", plain, 1),
        candidate(&bench, "lamb, 10 000 tensors", "lamb", plain, MANY),
        candidate(&bench, "adamw, clipped, 10 000 tensors", "adamw", clip, MANY),
    ];
    let times = bench.in_turns(ROUNDS, candidates.len(), |which, encoder| {
        candidates[which].optimizer.step(encoder).expect("a step");
    });
    println!("\n{:.1} M parameters, {ROUNDS} rounds in turns, milliseconds a step", ELEMENTS as f64 / 1e6);
    for (candidate, times) in candidates.iter().zip(&times) {
        let dispatches = candidate.optimizer.dispatches_per_step();
        let tensors = candidate.params.tensors().len();
        println!(
            "  {:34} {:8.2} ms, {dispatches} dispatches, {tensors} tensors",
            candidate.name,
            1e3 * median(times)
        );
    }
    let adamw = &times[0];
    for (which, bound) in [
        (1, "<= 1.25; by bytes 32 / 28"),
        (2, "by bytes 32 / 28"),
        (3, "by bytes 32 / 28"),
        (4, "by bytes 44 / 28"),
        (5, "<= 1.6; by bytes 44 / 28"),
        (6, "by bytes 32 / 28"),
        (7, "by bytes 24 / 28"),
        (8, "by bytes 44 / 28"),
    ] {
        ratio(&format!("time of {} / adamw", candidates[which].name), &times[which], adamw, bound);
    }
    ratio("time of lamb, 10 000 tensors / one", &times[9], &times[5], "<= 1.1");
    ratio("time of adamw clipped, 10 000 tensors / one", &times[10], &times[1], "<= 1.1");
}
