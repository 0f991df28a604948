//! What a step costs, on every adapter there is: `make bench`.
//!
//! AdamW over sizes, tensors and groups, every rule and what may stand around it, against hand-written kernels, a kernel
//! that copies, and other libraries' steps (`--peers`). Machines are shared and noisy: whatever is compared runs in turns,
//! and a ratio is the median over the rounds.

mod device;
mod document;
mod kernels;
mod ours;
mod picture;
mod resting;
mod rows;
mod saving;
mod sections;
mod tables;
mod turns;

use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{Table, presets};
use device::{Device, adapter};
use document::{Document, PeerFile, Report, VERSION};
use indicatif::{ProgressBar, ProgressStyle};
use sections::{Plan, SECTIONS, Session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(Debug, Parser)]
#[command(about = "What an optimizer step costs, on every adapter: ratios of what was measured in turns.")]
struct Arguments {
    /// Adapters whose name or backend contains this, all without it.
    #[arg(long, default_value_t = std::env::var("WGPU_OPTIM_ADAPTER").unwrap_or_default())]
    adapter: String,
    /// Rules of the section of rules, all without it.
    #[arg(long, value_delimiter = ',')]
    rules: Vec<String>,
    /// Parameters of the section of sizes: powers of ten to what memory allows without it.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<u64>,
    /// Sections to run.
    #[arg(long, value_delimiter = ',', default_values_t = SECTIONS.map(String::from))]
    sections: Vec<String>,
    /// Seconds for each adapter, roughly.
    #[arg(long, default_value_t = 90.0)]
    seconds: f64,
    /// What other libraries measured: files of benches/peers.
    #[arg(long)]
    peers: Vec<PathBuf>,
    /// Small sizes and few rounds, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// The folder for bench.json, bench.csv, the picture and a page for each adapter.
    #[arg(long, default_value = "out/bench")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let known = wgpu_optim::rules::names();
    if let Some(unknown) = arguments.rules.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("unknown rule '{unknown}'; there are {}", known.join(", "));
    }
    if let Some(unknown) = arguments.sections.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        bail!("unknown section '{unknown}'; there are {}", SECTIONS.join(", "));
    }
    // All that can be refused is refused before anything takes time.
    let peers = arguments.peers.iter().map(|path| PeerFile::read(path)).collect::<Result<Vec<_>>>()?;
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    writable(&arguments.out.join("bench.json"))?;
    let mut document = Document {
        version: VERSION,
        library: wgpu_optim::VERSION.into(),
        begun: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        adapters: vec![],
        passed_over: vec![],
    };
    for candidate in adapter::candidates(&arguments.adapter)? {
        let name = adapter::describe(&candidate);
        match Device::open(candidate) {
            Ok(device) => {
                document.adapters.push(measured(&device, arguments, &peers));
                // What was measured is kept, whatever comes.
                save(&document, &arguments.out)?;
            }
            Err(error) => {
                eprintln!("passed over: {name} gives no device: {error:#}");
                document.passed_over.push(format!("{name}: {error:#}"));
            }
        }
    }
    if document.adapters.is_empty() {
        bail!("no adapter gives a device: {}", document.passed_over.join("; "));
    }
    save(&document, &arguments.out)?;
    println!("\nwritten to {}", arguments.out.display());
    Ok(())
}

fn measured(device: &Device, arguments: &Arguments, peers: &[PeerFile]) -> Report {
    let (info, limits) = (device.adapter.get_info(), device.device.limits());
    let mut report = Report {
        name: info.name,
        backend: format!("{:?}", info.backend),
        driver: [info.driver, info.driver_info].join(" ").trim().to_string(),
        device_type: format!("{:?}", info.device_type),
        software: device.is_software(),
        tick_ns: device.tick_ns(),
        largest_binding: limits.max_storage_buffer_binding_size,
        invocations: limits.max_compute_invocations_per_workgroup,
        rows: vec![],
        starts: vec![],
        peers: vec![],
        errors: vec![],
    };
    println!("\n{}", tables::headline(&report));
    if !device.has_clock() {
        println!("no timestamps: ratios are of wall time");
    }
    let plan = plan(device, arguments);
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} sections, {msg} [{elapsed}]");
    let bar = ProgressBar::new(SECTIONS.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    Session { device, plan: &plan, bar: &bar, report: &mut report }.run(peers);
    bar.finish_and_clear();
    print(&report);
    report
}

/// What is measured where nothing else is asked for.
fn plan(device: &Device, arguments: &Arguments) -> Plan {
    let most = if device.is_software() { 7 } else { 9 };
    let powers = |from: u32, to: u32| (from..=to).map(|power| 10u64.pow(power));
    let given =
        |given: &[u64], otherwise: Vec<u64>| if given.is_empty() { otherwise } else { given.to_vec() };
    let mut plan = Plan {
        rules: arguments.rules.clone(),
        sizes: given(&arguments.sizes, powers(3, most).collect()),
        loads: if device.is_software() {
            vec![1_000_000, 8_388_608]
        } else {
            vec![1_000_000, 10_000_000, 100_000_000]
        },
        rules_size: if device.is_software() { 1 << 21 } else { 1 << 25 },
        seconds: arguments.seconds,
        sections: arguments.sections.clone(),
    };
    if arguments.quick {
        plan.sizes = given(&arguments.sizes, vec![1000, 100_000]);
        (plan.loads, plan.rules_size, plan.seconds) = (vec![100_000], 1 << 16, plan.seconds.min(10.0));
    }
    if plan.rules.is_empty() {
        plan.rules = wgpu_optim::rules::names().into_iter().map(Into::into).collect();
    }
    plan
}

fn print(report: &Report) {
    for section in tables::sections(report) {
        println!("\n{}. {}", section.title, section.note);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(section.head);
        for row in section.rows {
            table.add_row(row);
        }
        println!("{table}");
    }
    for error in &report.errors {
        println!("not measured: {error}");
    }
}

fn save(document: &Document, folder: &Path) -> Result<()> {
    write(folder, "bench.json", &(serde_json::to_string_pretty(document)? + "\n"))?;
    write(folder, "bench.csv", &tables::csv(&document.adapters))?;
    let date = document.begun.split('T').next().unwrap_or_default().to_string();
    for report in &document.adapters {
        let name = format!("{}.md", tables::slug(&report.name, &report.backend));
        write(folder, &name, &tables::markdown(report, &document.library, &date))?;
    }
    picture::files(document, folder).context("drawing the picture")?;
    Ok(())
}

/// Refuses a file that cannot be written, and leaves what it holds.
fn writable(path: &Path) -> Result<()> {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

/// Beside and then renamed: an interrupt leaves the old or the new.
fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let (part, whole) = (folder.join(format!("{name}.part")), folder.join(name));
    std::fs::write(&part, text).with_context(|| format!("cannot write {}", part.display()))?;
    std::fs::rename(&part, &whole).with_context(|| format!("cannot write {}", whole.display()))
}
