//! Replays recorded optimizer runs (`optimizer-trajectory/1`, see `tests/golden/README.md`) on the GPU and on
//! the `f64` reference, and says how far they are from the recording.
//!
//! ```text
//! cargo run --release --example replay -- tests/golden/*.safetensors
//! ```
//!
//! One line a file and adapter: the verdict, name, case, adapter, dispatches a step, the worst error of the
//! reference relative to the recording's largest displacement, and the worst error of the GPU relative
//! to its bound. The exit code is 1 if any file fails or cannot be read, else 2 if any needs a rule or
//! an option that this library does not have, else 0.

#[path = "support/adapter.rs"]
mod adapter;
#[path = "support/comparison.rs"]
mod comparison;
#[path = "support/trajectory.rs"]
mod trajectory;

use adapter::Opened;
use clap::Parser;
use clap::error::ErrorKind;
use comparison::Distance;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trajectory::{NoRule, Trajectory};
use wgpu_optim::wgpu;

/// Replay recorded optimizer runs on every GPU and on the f64 reference.
#[derive(Parser)]
struct Arguments {
    /// Recorded runs, as .safetensors.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only adapters whose name or backend contains this text; by default all are used.
    #[arg(long, value_name = "TEXT", default_value = "")]
    adapter: String,
}

/// An open adapter.
struct Gpu {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

/// How a file ended.
enum Verdict {
    Ok,
    Failed,
    Unsupported,
}

/// How many files ended how.
#[derive(Default)]
struct Tally {
    ok: usize,
    failed: usize,
    unsupported: usize,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap would exit with 2, which means something else here.
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match run(&arguments) {
        Ok(Tally { failed: 1.., .. }) => ExitCode::FAILURE,
        Ok(Tally { unsupported: 1.., .. }) => ExitCode::from(2),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Tally> {
    let gpus = open(&arguments.adapter)?;
    let mut out = std::io::stdout().lock();
    let mut tally = Tally::default();
    for path in &arguments.files {
        match replay(path, &gpus, &mut out)? {
            Verdict::Ok => tally.ok += 1,
            Verdict::Failed => tally.failed += 1,
            Verdict::Unsupported => tally.unsupported += 1,
        }
    }
    let Tally { ok, failed, unsupported } = tally;
    eprintln!("{ok} ok, {failed} failed, {unsupported} unsupported, on {} adapter(s)", gpus.len());
    Ok(tally)
}

/// Replays one file on all adapters; the errors are those of writing to `out`.
fn replay(path: &Path, gpus: &[Gpu], out: &mut impl Write) -> std::io::Result<Verdict> {
    let trajectory = match Trajectory::read(path) {
        Ok(trajectory) => trajectory,
        Err(error) => {
            writeln!(out, "FAIL        {error}")?;
            return Ok(Verdict::Failed);
        }
    };
    let label = format!("{:<26} {:<6}", trajectory.name, trajectory.case);
    let rule = match trajectory.setup() {
        Ok(rule) => rule,
        Err(NoRule::Unsupported(what)) => {
            writeln!(out, "unsupported {label} {what} is not in this library")?;
            return Ok(Verdict::Unsupported);
        }
        Err(NoRule::Invalid(error)) => {
            writeln!(out, "FAIL        {error}")?;
            return Ok(Verdict::Failed);
        }
    };
    let reference = comparison::on_reference(&trajectory, &rule);
    let mut verdict = Verdict::Ok;
    for gpu in gpus {
        let run = comparison::on_gpu(&gpu.device, &gpu.queue, &trajectory, &rule);
        match (&reference, &run) {
            (Ok(reference), Ok((distance, dispatches))) => {
                let wrong: Vec<&Distance> =
                    [reference, distance].into_iter().filter(|distance| !distance.matches()).collect();
                write!(
                    out,
                    "{:<11} {label} {:<27}  dispatches {dispatches}  reference {:.1e} D  GPU {:.3} of bound",
                    if wrong.is_empty() { "ok" } else { "FAIL" },
                    gpu.name,
                    reference.relative,
                    distance.share,
                )?;
                for distance in &wrong {
                    verdict = Verdict::Failed;
                    write!(out, "; {}", distance.place)?;
                }
                writeln!(out)?;
            }
            (Err(error), _) | (_, Err(error)) => {
                verdict = Verdict::Failed;
                writeln!(out, "FAIL        {label} {:<27} {error}", gpu.name)?;
            }
        }
    }
    Ok(verdict)
}

/// Opens every adapter that can run compute shaders and is wanted.
fn open(wanted: &str) -> anyhow::Result<Vec<Gpu>> {
    let gpu = |Opened { adapter, device, queue }| {
        let info = adapter.get_info();
        let name = format!("{} [{:?}]", info.name.split(" (").next().unwrap_or_default(), info.backend);
        Gpu { name, device, queue }
    };
    Ok(adapter::all(wanted)?.into_iter().map(gpu).collect())
}
