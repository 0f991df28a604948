//! What each rule's step costs, as a share of the same device's buffer copy rate: bytes that the rule reads
//! and writes a parameter over time, against the bytes that a copy reads and writes. All rules in turns.
//!
//! `cargo bench --bench rules`

#[path = "support/mod.rs"]
mod support;

use support::{Bench, median};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Optimizer, ParamSet, wgpu};

const ELEMENTS: usize = 1 << 21;
const ROUNDS: usize = 9;

fn main() {
    let Some(bench) = Bench::open() else { return };
    // `cargo test` runs benches too.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut names = vec!["copy".to_string(), "adamw".into()];
    let mut rules = vec![AnyRule::named("adamw").expect("registered")];
    for entry in REGISTRY {
        for (i, rule) in (entry.variants)().into_iter().enumerate() {
            names.push(format!("{} {i}", entry.name));
            rules.push(rule);
        }
    }
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let [from, to] = [(); 2].map(|()| bench.buffer(ELEMENTS as u64 * 4, usage));
    let mut optimizers: Vec<(ParamSet, Optimizer<AnyRule>)> = rules
        .iter()
        .map(|rule| {
            let mut builder = ParamSet::builder();
            let group = builder.group("all");
            builder.tensor("all", [ELEMENTS], group);
            let params = builder.build(&bench.device).expect("the arenas");
            let optimizer =
                Optimizer::new(&bench.device, &bench.queue, &params, [rule.clone()]).expect("the optimizer");
            (params, optimizer)
        })
        .collect();
    let times = bench.in_turns(ROUNDS, names.len(), |which, encoder| match which {
        0 => encoder.copy_buffer_to_buffer(&from, 0, &to, 0, from.size()),
        _ => optimizers[which - 1].1.step(encoder).expect("a step"),
    });
    println!("\n{:.1} M parameters, {ROUNDS} rounds in turns", ELEMENTS as f64 / 1e6);
    println!("| rule, variant | bytes | ms | share of the copy's rate | time a byte / adamw's |");
    println!("|---|---|---|---|---|");
    let bytes_of = |of: &(ParamSet, Optimizer<AnyRule>)| of.1.program().bytes_per_parameter as f64;
    let adamw: Vec<f64> = times[1].iter().map(|time| time / bytes_of(&optimizers[0])).collect();
    for ((name, optimizer), times_of) in names[1..].iter().zip(&optimizers).zip(&times[1..]) {
        let bytes = bytes_of(optimizer);
        let ratios = |of: &dyn Fn(usize) -> f64| median(&(0..ROUNDS).map(of).collect::<Vec<_>>());
        let share = ratios(&|round| (bytes / times_of[round]) / (8.0 / times[0][round]));
        let slower = ratios(&|round| times_of[round] / bytes / adamw[round]);
        println!("| {name} | {bytes} | {:.2} | {share:.2} | {slower:.2} |", 1e3 * median(times_of));
    }
}
