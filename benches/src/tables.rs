//! What was measured, to read: on a terminal, as Markdown, as CSV.

use crate::document::{PeerRow, Report, Row};
use crate::sections::SECTIONS;
use crate::turns::Quartiles;
use std::fmt::Write;

/// A table of one section: its head and its rows.
pub struct Section {
    pub title: &'static str,
    pub note: &'static str,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// What a section is about, and how to read it.
fn about(section: &str) -> (&'static str, &'static str) {
    match section {
        "sizes" => (
            "AdamW, one tensor, by size",
            "Against the best of a ladder of hand-written kernels, and against a kernel that copies as many bytes.",
        ),
        "ladder" => (
            "The ladder of shapes",
            "Every rung in turns; the ratio is to the shape that this device is given.",
        ),
        "tensors" => ("AdamW, many tensors and groups", "The ratio is to one tensor of the same size."),
        "wrappers" => {
            ("What stands around a rule, and rules with norms", "The ratio is to AdamW over one tensor.")
        }
        "rules" => ("Every rule", "With its defaults, over one matrix; the ratio is to AdamW."),
        "resting" => (
            "Tensors and rows that rest",
            "Rows of 59, for which a step of all that knows nothing of rests is the measure.",
        ),
        "rows" => (
            "Rows pruned",
            "Parameters, gradients and two slots, by `Optimizer::take_over`; the ratio is to plain copies of as many words.",
        ),
        "saving" => (
            "Saving",
            "`Optimizer::save_checkpoint_blocking`, one tensor at a time, to a file that is synchronised; GB/s are of its size.",
        ),
        _ => (
            "The first step",
            "On a fresh device of 1 M parameters: a driver may know the pipelines from another run.",
        ),
    }
}

/// The tables of a report, in their order.
pub fn sections(report: &Report) -> Vec<Section> {
    let mut all = vec![];
    for section in SECTIONS {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.section == section).collect();
        if rows.is_empty() {
            continue;
        }
        let (title, note) = about(section);
        let head = vec![
            "what",
            "parameters",
            "GPU time",
            "wall time",
            "host time",
            "GB/s",
            "of the copy",
            "ratio",
            "to",
        ];
        all.push(Section { title, note, head, rows: rows.into_iter().map(cells).collect() });
    }
    if !report.starts.is_empty() {
        let (title, note) = about("start");
        let head = vec!["optimizer", "program", "buffers and pipelines", "first step"];
        let cells = report.starts.iter().map(|start| {
            let times = [start.program_s, start.optimizer_s, start.first_step_s].map(seconds);
            std::iter::once(start.optimizer.clone()).chain(times).collect()
        });
        all.push(Section { title, note, head, rows: cells.collect() });
    }
    if !report.peers.is_empty() {
        all.push(Section {
            title: "Peers",
            note: "The ratio is the peer's time over ours: above 1 ours is faster.",
            head: vec!["peer", "optimizer", "parameters", "tensors", "groups", "peer", "ours", "ratio", "by"],
            rows: report.peers.iter().map(peer_cells).collect(),
        });
    }
    all
}

fn cells(row: &Row) -> Vec<String> {
    let time = |times: Option<Quartiles>| times.map_or(String::new(), |times| seconds(times.median));
    let mut gpu = time(row.gpu_s);
    if !row.ranked {
        gpu += " (under 20 ticks: not ranked)";
    }
    let share = row
        .share_of_copy
        .filter(|_| row.ranked)
        .map_or(String::new(), |share| format!("{:.2}", share.median));
    let ratio = row.over.as_ref().filter(|_| row.ranked);
    let text = ratio.map_or(String::new(), |over| {
        let target = over.target.as_ref().map_or(String::new(), |target| format!(" (want {target})"));
        let Quartiles { lower, median, upper } = over.ratio;
        format!("{median:.3} [{lower:.3}, {upper:.3}]{target}")
    });
    let mut name = row.name.clone();
    if row.section == "wrappers" && row.tensors > 1 {
        let _ = write!(name, ", {} tensors", row.tensors);
    }
    vec![
        name,
        count(row.parameters),
        gpu,
        time(row.wall_s),
        time(row.host_s),
        row.rate().map_or(String::new(), |rate| format!("{:.1}", rate / 1e9)),
        share,
        text,
        ratio.map_or(String::new(), |over| over.what.clone()),
    ]
}

fn peer_cells(row: &PeerRow) -> Vec<String> {
    let time = |gpu: Option<f64>, wall: Option<f64>| {
        let chosen = if row.by == "gpu" { gpu } else { wall };
        chosen.map_or(String::new(), seconds)
    };
    let (peer, ours) = (&row.peer, &row.ours);
    let turns = if row.in_turns { "in turns" } else { "one after the other" };
    vec![
        [peer.library.as_str(), peer.variant.as_str()].join(" ").trim().to_string(),
        peer.optimizer.clone(),
        count(peer.parameters),
        peer.tensors.to_string(),
        peer.groups.to_string(),
        time(peer.gpu_s, peer.wall_s),
        time(ours.gpu_s, ours.wall_s),
        format!("{:.2}", row.ratio),
        format!("{}, {turns}", row.by),
    ]
}

/// A time with its unit.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn count(parameters: u64) -> String {
    match parameters {
        n if n >= 1_000_000 => format!("{:.1} M", n as f64 / 1e6),
        n if n >= 1000 => format!("{:.1} k", n as f64 / 1e3),
        n => n.to_string(),
    }
}

/// What an adapter is, in a line; loud where it is a CPU.
pub fn headline(report: &Report) -> String {
    let mut line = format!("{} ({}, {})", report.name, report.backend, report.driver);
    if report.software {
        line += ": A SOFTWARE ADAPTER. These figures are of a CPU and say nothing about a GPU.";
    }
    line
}

/// A page of one adapter.
pub fn markdown(report: &Report, library: &str, date: &str) -> String {
    let mut page = format!("# {}, {date}\n\n", report.name);
    let _ = writeln!(
        page,
        "{} through {}, driver {}; wgpu-optim {library}. Written by `make bench`. Everything of a table was measured in turns; \
         medians, and quartiles in brackets. GPU time is by timestamps around many steps{}, wall time that of a step which is \
         recorded, submitted and waited for, host time that of recording it. `of the copy` is the share of the rate of a kernel \
         that reads and writes as many bytes.",
        report.device_type,
        report.backend,
        report.driver,
        report.tick_ns.map_or(" (this adapter has none: ratios are of wall time)".into(), |tick| format!(
            " (a tick is {tick} ns)"
        )),
    );
    if report.software {
        page += "\n**This is a software adapter: these figures are of a CPU and say nothing about a GPU.**\n";
    }
    for section in sections(report) {
        let _ = write!(page, "\n## {}\n\n{}\n\n", section.title, section.note);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let head: Vec<String> = section.head.iter().map(|name| name.to_string()).collect();
        page += &line(&head);
        page += &line(&vec!["---".to_string(); head.len()]);
        section.rows.iter().for_each(|row| page += &line(row));
    }
    if !report.errors.is_empty() {
        page += "\n## Not measured\n\n";
        report.errors.iter().for_each(|error| page += &format!("- {error}\n"));
    }
    page
}

/// All rows of all adapters, one a line.
pub fn csv(reports: &[Report]) -> String {
    let mut text = String::from(
        "adapter,backend,section,what,parameters,tensors,groups,dispatches,bytes,gpu_s,wall_s,host_s,share_of_copy,ratio,to,overhead_bytes,ranked\n",
    );
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:e}"));
    let median = |times: Option<Quartiles>| number(times.map(|times| times.median));
    for report in reports {
        for row in &report.rows {
            let over = row.over.as_ref();
            let cells = [
                quoted(&report.name),
                report.backend.clone(),
                row.section.clone(),
                quoted(&row.name),
                row.parameters.to_string(),
                row.tensors.to_string(),
                row.groups.to_string(),
                row.dispatches.to_string(),
                row.bytes.to_string(),
                median(row.gpu_s),
                median(row.wall_s),
                median(row.host_s),
                median(row.share_of_copy),
                median(over.map(|over| over.ratio)),
                quoted(over.map_or("", |over| &over.what)),
                row.overhead_bytes.map_or(String::new(), |bytes| bytes.to_string()),
                row.ranked.to_string(),
            ];
            text += &(cells.join(",") + "\n");
        }
    }
    text
}

/// The name of an adapter's files: the first words of its name, and its backend where that is not Vulkan.
pub fn slug(name: &str, backend: &str) -> String {
    let short = name.split(['(', ',']).next().unwrap_or_default().to_lowercase();
    let short = if short.trim() == "llvmpipe" && backend == "Vulkan" { "lavapipe" } else { short.trim() };
    let words = short
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && *word != "device");
    let backend = backend.to_lowercase();
    let mut words: Vec<&str> = words.collect();
    if backend != "vulkan" {
        words.push(&backend);
    }
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_short_names() {
        for (name, backend, expected) in [
            ("llvmpipe (LLVM 15.0.6, 256 bits)", "Vulkan", "lavapipe"),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", "Gl", "llvmpipe-gl"),
            ("SwiftShader Device (LLVM 10.0.0)", "Vulkan", "swiftshader"),
            ("NVIDIA H100 80GB HBM3", "Vulkan", "nvidia-h100-80gb-hbm3"),
            ("Apple M2", "Metal", "apple-m2-metal"),
        ] {
            assert_eq!(slug(name, backend), expected);
        }
    }

    #[test]
    fn times_have_their_units() {
        assert_eq!([2.5e-6, 1.5e-3, 2.0].map(seconds), ["2.5 us", "1.50 ms", "2.00 s"]);
    }
}
