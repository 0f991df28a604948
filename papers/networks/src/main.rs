//! The papers' experiments with attention, convolutions and LSTMs, at a size that two cores train:
//! `make networks`, or `cargo run --release --manifest-path papers/networks/Cargo.toml -- all`.

#[path = "../../../examples/support/adapter.rs"]
mod adapter;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgpu_optim_networks::experiments::{EXPERIMENTS, Experiment};
use wgpu_optim_networks::lab::Lab;
use wgpu_optim_networks::store::Store;
use wgpu_optim_networks::tasks::Tasks;
use wgpu_optim_papers::harness::report::{self, Made};

/// Repeats the papers' tables and figures about networks in miniature, into the report of `make papers`.
#[derive(Debug, Parser)]
#[command(name = "networks", after_help = list())]
struct Args {
    /// Experiments, or `all`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Few steps and seeds: shows in some minutes that everything works; verdicts mean little
    #[arg(long)]
    quick: bool,

    /// Folder for REPORT.md and its files; what is there of other experiments stays in the report
    #[arg(long, value_name = "DIR", default_value = "out/papers")]
    out: PathBuf,

    /// Every finished run is kept here, and not made again [default: networks-runs.jsonl in the folder]
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,

    /// Runs at the same time [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Part of the name or backend of the adapter to use [default: the fastest kind]
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
}

fn main() -> ExitCode {
    let code = match run(&Args::parse()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    };
    leave(code)
}

fn run(args: &Args) -> Result<()> {
    let wanted = chosen(&args.names)?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let runs = args.runs.clone().unwrap_or_else(|| args.out.join("networks-runs.jsonl"));
    let threads = args.threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=256).contains(&threads), "--threads {threads}: between 1 and 256");
    // What is missing is told before anything takes time.
    let tasks = Tasks::new(args.quick);
    for experiment in &wanted {
        tasks.prepare(experiment.tasks)?;
    }
    let mut labs = vec![];
    let mut description = String::new();
    for _ in 0..threads {
        let opened = adapter::choose(args.adapter.as_deref())?;
        description = adapter::describe(&opened.adapter);
        let host = Device::flex().autodiff();
        labs.push(Lab { device: opened.device, queue: opened.queue, host });
    }
    println!("adapter  {description}; burn differentiates on {threads} threads");
    println!("report   {}", args.out.join("REPORT.md").display());
    println!("runs     {}: what is there is not made again", runs.display());
    let file = runs.clone();
    ctrlc::set_handler(move || {
        eprintln!("\ninterrupted; the same command goes on from {}", file.display());
        leave(130);
    })?;
    let mut store = Store::open(&runs, labs, args.quick)?;
    let milliseconds: u64 = wanted.iter().map(|experiment| (experiment.weight)(&store)).sum();
    println!("about    {:.0} minutes if nothing is known yet", milliseconds as f64 / 6e4 / threads as f64);
    for experiment in wanted {
        let start = Instant::now();
        store.start(experiment.name)?;
        store.expect((experiment.weight)(&store));
        let findings = (experiment.run)(&store, &tasks).with_context(|| experiment.name.to_string());
        store.finish();
        let findings = findings?;
        let made = Made {
            command: format!(
                "cargo run --release --manifest-path papers/networks/Cargo.toml -- {}{}",
                experiment.name,
                if args.quick { " --quick" } else { "" }
            ),
            adapter: description.clone(),
            quick: args.quick,
            seconds: store.spent(experiment.name, start.elapsed().as_secs_f64())?,
        };
        println!("{:<18} {:6.1} s  {}", experiment.name, made.seconds, report::verdicts(&findings));
        report::save(&args.out, experiment.name, experiment.title, &findings, made)?;
        report::write_report(&args.out, &wgpu_optim_papers::all_names())?;
    }
    Ok(())
}

/// The experiments of these names, each once, in the report's order.
fn chosen(names: &[String]) -> Result<Vec<&'static Experiment>> {
    let known = |name: &String| name == "all" || EXPERIMENTS.iter().any(|experiment| experiment.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = EXPERIMENTS.iter().map(|experiment| experiment.name).collect();
        bail!("unknown experiment '{unknown}'; there are: {}, and all", all.join(", "));
    }
    let wanted = |experiment: &&Experiment| names.iter().any(|name| name == "all" || name == experiment.name);
    Ok(EXPERIMENTS.iter().filter(wanted).collect())
}

fn list() -> String {
    let line = |experiment: &Experiment| format!("  {:<18}  {}\n", experiment.name, experiment.title);
    format!("Experiments:\n{}", EXPERIMENTS.iter().map(line).collect::<String>())
}

/// Ends the process. Mesa's exit handlers are left out: now and then one frees twice, and all is done.
fn leave(code: i32) -> ! {
    let _ = std::io::Write::flush(&mut std::io::stdout());
    // SAFETY: all files are closed and nothing waits for exit handlers.
    #[cfg(unix)]
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}
