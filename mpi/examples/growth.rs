//! How a sharded step grows with ranks and parameters, by bytes and latencies, held against what `measure` saw on a machine:
//! `cargo run --release -p wgpu-optim-mpi --example growth -- docs/benchmarks/mpi.jsonl docs/benchmarks`.
//! Writes growth.svg and growth.png, and a table.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Deserialize;
use std::path::PathBuf;
use wgpu_optim_papers::charts::{Axis, Chart, Panel, Series};

/// A model of bytes and latencies, and a picture of it
#[derive(Parser)]
struct Arguments {
    /// What `measure` printed with one rank, two and more
    measured: PathBuf,
    /// Folder for the picture
    out: PathBuf,
    /// Cores of the machine, which ranks share on a software adapter
    #[arg(long, default_value_t = 2.0)]
    cores: f64,
}

/// A line of `measure`.
#[derive(Debug, Clone, Deserialize)]
struct Measured {
    ranks: usize,
    elements: f64,
    download_ms: f64,
    reduce_ms: f64,
    step_ms: f64,
    gather_ms: f64,
    upload_ms: f64,
}

impl Measured {
    fn seconds(&self) -> f64 {
        let all = [self.download_ms, self.reduce_ms, self.step_ms, self.gather_ms, self.upload_ms];
        all.iter().sum::<f64>() / 1e3
    }
}

/// A machine: bytes a second, and seconds.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// From and to the device.
    bus: f64,
    /// From and to all other ranks together.
    link: f64,
    /// Of a message.
    latency: f64,
    /// The device's memory.
    memory: f64,
    /// Of a step without bytes: submits and waits.
    fixed: f64,
    /// Ranks that have all of that for themselves; more share it.
    places: f64,
}

/// AdamW reads theta, g, m and v and writes three of them.
const STEP_BYTES: f64 = 28.0;
const ELEMENT: f64 = 4.0;
/// Elements of a bucket, as [`wgpu_optim_mpi::Sharding`] has them.
const BUCKET: f64 = 4_194_304.0;

/// What a step of `elements` on `ranks` takes: gradients down while they are on their way, a step on the share, parameters down,
/// to all and up.
fn seconds(machine: &Machine, ranks: f64, elements: f64) -> f64 {
    let shared = (machine.places / ranks).min(1.0);
    let [bus, link, memory] = [machine.bus, machine.link, machine.memory].map(|rate| rate * shared);
    let bytes = ELEMENT * elements;
    let others = (ranks - 1.0) / ranks;
    let buckets = (elements / BUCKET).ceil();
    // Every rank sends each other one a message for each bucket.
    let wire = bytes * others / link + buckets * (ranks - 1.0) * machine.latency;
    let down = bytes / bus;
    let step = STEP_BYTES * elements / ranks / memory + bytes / ranks / bus;
    let share = bytes / ranks / bus;
    let up = bytes * others / bus;
    // The last bucket has nothing to hide behind.
    let reduce = down.max(wire) + wire.min(down) / buckets;
    let gather = share.max(wire).max(up) + (share + up) / buckets;
    machine.fixed + reduce + step + gather
}

/// A GPU with 3 TB/s behind a PCIe 4 bus, and 200 Gbit/s for each rank.
const CLUSTER: Machine =
    Machine { bus: 25e9, link: 25e9, latency: 2e-6, memory: 3e12, fixed: 1e-4, places: 4096.0 };

/// The numbers of the machine that was measured: rates from the largest size, what has no bytes from the smallest, of one rank
/// and of two. More ranks are predictions.
fn fitted(measured: &[Measured], cores: f64) -> Result<Machine> {
    let of = |ranks: usize, largest: bool| {
        let own = measured.iter().filter(move |line| line.ranks == ranks);
        let better = |a: &&Measured, b: &&Measured| a.elements.total_cmp(&b.elements);
        if largest { own.max_by(better) } else { own.min_by(better) }
    };
    let one = of(1, true).context("nothing was measured with one rank")?;
    let (two, small) = (of(2, true), of(2, false));
    let (two, small) = two.zip(small).context("nothing was measured with two ranks")?;
    let bytes = |line: &Measured| ELEMENT * line.elements;
    let bus = bytes(one) / (one.download_ms / 1e3);
    let memory = STEP_BYTES * one.elements / (one.step_ms / 1e3);
    // Both ways, half of the bytes each, between two ranks.
    let link = bytes(two) / ((two.reduce_ms + two.gather_ms) / 1e3);
    let fixed = small.step_ms / 1e3;
    let wire = (small.reduce_ms + small.gather_ms) / 1e3 - bytes(small) / link;
    Ok(Machine { bus, link, latency: (wire / 2.0).max(1e-6), memory, fixed, places: cores })
}

fn main() -> Result<()> {
    let Arguments { measured, out, cores } = Arguments::parse();
    let text = std::fs::read_to_string(&measured).with_context(|| measured.display().to_string())?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Measured>, _>>()?;
    ensure!(!lines.is_empty(), "nothing was measured");
    let here = fitted(&lines, cores)?;
    println!("this machine: {here:?}\n");
    println!("| ranks | parameters | measured, ms | by the model, ms |\n|---|---|---|---|");
    for line in &lines {
        let model = 1e3 * seconds(&here, line.ranks as f64, line.elements);
        println!("| {} | {:.0} | {:.1} | {model:.1} |", line.ranks, line.elements, 1e3 * line.seconds());
    }
    let ranks: Vec<f64> = (0..=12).map(|i| f64::from(1 << i)).collect();
    let sizes = [1e7, 1e8, 1e9, 1e10, 1e11];
    let name = |elements: f64| format!("10^{} parameters", elements.log10().round());
    let line = |(style, elements): (usize, &f64)| {
        let points = ranks.iter().map(|ranks| (*ranks, seconds(&CLUSTER, *ranks, *elements))).collect();
        Series::line(name(*elements), points).style(style)
    };
    let time = sizes.iter().enumerate().map(line).collect();
    // theta, g and buckets on the device of every rank, and the share of m and v.
    let memory = |(style, elements): (usize, &f64)| {
        let bytes = |ranks: &f64| (*ranks, (8.0 + 8.0 / ranks) * elements / 1e9);
        Series::line(name(*elements), ranks.iter().map(bytes).collect()).style(style)
    };
    let memory = sizes.iter().enumerate().map(memory).collect();
    let mut here_lines = vec![];
    let mut elements: Vec<f64> = lines.iter().map(|line| line.elements).collect();
    elements.sort_by(f64::total_cmp);
    elements.dedup();
    for (style, elements) in elements.into_iter().enumerate() {
        let model = |ranks: u32| (f64::from(ranks), 1e3 * seconds(&here, f64::from(ranks), elements));
        let own = lines.iter().filter(|line| line.elements == elements);
        let seen = own.map(|line| (line.ranks as f64, 1e3 * line.seconds())).collect();
        let label = format!("{elements:.1e} here");
        here_lines.push(Series::plain(format!("{label}, model"), (1..=4).map(model).collect()).style(style));
        here_lines.push(Series::dots(format!("{label}, measured"), seen).style(style));
    }
    let ranks = || Axis::new("ranks").log();
    let chart = Chart {
        name: "growth".into(),
        title: "A step of AdamW shared out over ranks".into(),
        columns: 3,
        panels: vec![
            Panel::new(
                "by the model: 25 GB/s links and bus, 3 TB/s memory",
                ranks(),
                Axis::new("seconds a step").log(),
                time,
            ),
            Panel::new("memory of a rank", ranks(), Axis::new("GB").log(), memory),
            Panel::new("this machine", Axis::new("ranks"), Axis::new("ms a step").log(), here_lines),
        ],
    };
    std::fs::create_dir_all(&out)?;
    chart.draw(&out)?;
    println!("\npicture  {}", out.join("growth.png").display());
    Ok(())
}
