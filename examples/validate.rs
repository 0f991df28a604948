//! Holds every adapter against the reference: every rule with what may stand around it and with poison among its
//! gradients, every word of every step. Also says what each adapter does where WGSL leaves it a choice.
//!
//! ```text
//! cargo run --release --features validate --example validate -- --json out/validate.json
//! ```
//!
//! The exit code is 1 if any word was not one that WGSL allows, or a probe found what WGSL does not allow.

#[path = "support/adapter.rs"]
mod adapter;

use adapter::Opened;
use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use wgpu_optim::program::Limits;
use wgpu_optim::rules::{REGISTRY, names};
use wgpu_optim::validate::{self, Poison, Probe, Verdict, cases, check_blocking, probe_blocking};

/// Holds what adapters compute against the reference.
#[derive(Debug, Parser)]
struct Arguments {
    /// Part of the name or backend of the adapters to use [default: all]
    #[arg(long, value_name = "TEXT", default_value = "")]
    adapter: String,
    /// Names of rules [default: all]
    #[arg(long = "rule", value_name = "NAME", value_delimiter = ',')]
    rules: Vec<String>,
    /// Without poison, and one variant of each rule
    #[arg(long)]
    quick: bool,
    /// Writes everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is written of an adapter.
#[derive(Debug, Serialize)]
struct Report {
    name: String,
    backend: String,
    driver: String,
    device_type: String,
    limits: Limits,
    probe: Option<Probe>,
    /// Why the adapter did not come to its end.
    error: Option<String>,
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    library: &'static str,
    adapters: Vec<Report>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let registered = |name: &&String| !REGISTRY.iter().any(|entry| entry.name == name.as_str());
    if let Some(unknown) = arguments.rules.iter().find(registered) {
        bail!("unknown rule '{unknown}'; there are {}", names().join(", "));
    }
    if let Some(path) = &arguments.json {
        // Before anything takes time; what the file holds is left until there is something to put in its place.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map(drop).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut adapters = vec![];
    for opened in adapter::all(&arguments.adapter)? {
        adapters.push(validated(&opened, arguments));
    }
    let good = adapters.iter().all(conforms);
    if let Some(path) = &arguments.json {
        let document = Document { version: validate::VERSION, library: wgpu_optim::VERSION, adapters };
        std::fs::write(path, serde_json::to_string_pretty(&document)?)?;
        println!("written: {}", path.display());
    }
    Ok(good)
}

fn conforms(report: &Report) -> bool {
    let words = report.verdicts.iter().all(|verdict| verdict.violation.is_none());
    words && report.error.is_none() && report.probe.as_ref().is_some_and(Probe::conforms)
}

/// One adapter; what was found is kept where it does not come to its end.
fn validated(opened: &Opened, arguments: &Arguments) -> Report {
    let info = opened.adapter.get_info();
    println!("\n{}", adapter::describe(&opened.adapter));
    let mut report = Report {
        name: info.name,
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info),
        device_type: format!("{:?}", info.device_type),
        limits: Limits::of(&opened.device),
        probe: None,
        error: None,
        verdicts: vec![],
    };
    if let Err(error) = hold(opened, arguments, &mut report) {
        println!("not finished: {error}");
        report.error = Some(error.to_string());
    }
    print_table(&report);
    report
}

fn hold(opened: &Opened, arguments: &Arguments, report: &mut Report) -> Result<(), wgpu_optim::Error> {
    let (device, queue) = (&opened.device, &opened.queue);
    let probe = probe_blocking(device, queue)?;
    println!("{probe:#?}");
    report.probe = Some(probe);
    let mut last = String::new();
    let mut first_of_rule = |name: &str| {
        let first = last != name;
        last = name.into();
        first
    };
    let wanted: Vec<_> = cases()
        .filter(|case| {
            arguments.rules.is_empty() || arguments.rules.iter().any(|name| name == case.rule.name())
        })
        .filter(|case| !arguments.quick || case.poison == Poison::None && first_of_rule(case.rule.name()))
        .collect();
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} {msg}");
    let bar = ProgressBar::new(wanted.len() as u64).with_style(style.unwrap_or(ProgressStyle::default_bar()));
    for case in wanted {
        bar.set_message(case.rule.name());
        let verdict = check_blocking(device, queue, &case)?;
        if let Some(violation) = &verdict.violation {
            bar.println(format!("{}: {violation:#?}", verdict.rule));
        }
        report.verdicts.push(verdict);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_table(report: &Report) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["rule", "cases", "words", "worst, of the interval", "verdict"]);
    for entry in REGISTRY {
        let of_rule = |verdict: &&Verdict| verdict.rule["optimizer"] == entry.name;
        let verdicts: Vec<&Verdict> = report.verdicts.iter().filter(of_rule).collect();
        if verdicts.is_empty() {
            continue;
        }
        let worst = verdicts.iter().fold(0f64, |worst, verdict| worst.max(verdict.worst));
        let words: u64 = verdicts.iter().map(|verdict| verdict.words).sum();
        let wrong = verdicts.iter().filter(|verdict| verdict.violation.is_some()).count();
        let verdict = if wrong == 0 { "as WGSL allows".into() } else { format!("{wrong} cases are not") };
        table.add_row([
            entry.name.to_string(),
            verdicts.len().to_string(),
            words.to_string(),
            format!("{worst:.3}"),
            verdict,
        ]);
    }
    println!("{table}");
}
