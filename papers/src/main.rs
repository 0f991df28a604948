//! The experiments of the papers, on whatever adapter the machine has:
//! `cargo run --release -p wgpu-optim-papers -- all`, or with names; `--help` lists them.
//!
//! Runs, learning rates and seeds are elements and groups of one parameter set each, so that a whole sweep
//! advances in one dispatch a step. Every claim is checked against what was measured (`harness/report.rs`).

#[path = "../../examples/support/adapter.rs"]
mod adapter;

use adapter::Opened;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use wgpu_optim_papers::harness::gpu::Gpu;
use wgpu_optim_papers::harness::report::{self, Made};
use wgpu_optim_papers::{EXPERIMENTS, Experiment};

/// Repeats experiments of the papers, and writes pictures, tables and REPORT.md with a verdict on every claim.
#[derive(Debug, Parser)]
#[command(name = "papers", after_help = list())]
struct Args {
    /// Experiments, or `all`
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Small sizes: shows in seconds that everything works; verdicts mean little
    #[arg(long)]
    quick: bool,

    /// Folder for REPORT.md and its files; what is there of other experiments stays in the report
    #[arg(long, value_name = "DIR", default_value = "out/papers")]
    out: PathBuf,

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
    // What can be refused is refused before anything takes time.
    let wanted = chosen(&args.names)?;
    prepare(&args.out)?;
    let Opened { adapter, device, queue } = adapter::choose(args.adapter.as_deref())?;
    let description = adapter::describe(&adapter);
    println!("adapter  {description}");
    if adapter::is_software(&adapter) {
        println!("         software adapter: timings say nothing about a GPU");
    }
    println!("report   {}", args.out.join("REPORT.md").display());
    let out = args.out.clone();
    ctrlc::set_handler(move || {
        eprintln!("\ninterrupted; experiments that were finished are in {}", out.join("REPORT.md").display());
        // Kernels are under way: nothing can be put in order.
        leave(130);
    })?;

    let mut gpu = Gpu::new(device, queue, args.quick)?;
    for experiment in wanted {
        let name = experiment.name;
        let start = Instant::now();
        gpu.start(name);
        let findings = (experiment.run)(&gpu).with_context(|| name.to_string());
        gpu.finish();
        let findings = findings?;
        let made = Made {
            command: command(name, args.quick),
            adapter: description.clone(),
            quick: args.quick,
            seconds: start.elapsed().as_secs_f64(),
        };
        println!("{name:<18} {:6.1} s  {}", made.seconds, report::verdicts(&findings));
        report::save(&args.out, name, experiment.title, &findings, made)?;
        // After each one, so that an interrupt keeps it.
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

/// Makes the folder and sees whether it can be written, which beats finding out at the end.
fn prepare(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let probe = folder.join("probe.part");
    std::fs::write(&probe, "").with_context(|| format!("cannot write into {}", folder.display()))?;
    std::fs::remove_file(&probe).with_context(|| format!("cannot write into {}", folder.display()))
}

fn command(name: &str, quick: bool) -> String {
    format!("cargo run --release -p wgpu-optim-papers -- {name}{}", if quick { " --quick" } else { "" })
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
