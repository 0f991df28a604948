//! What an experiment found, its files, and REPORT.md.

use crate::charts::Chart;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

#[derive(Debug, Clone)]
pub struct Findings {
    pub claims: Vec<Claim>,
    pub charts: Vec<Chart>,
    pub tables: Vec<Table>,
    /// Markdown: settings, searches, remarks.
    pub notes: String,
}

#[derive(Debug, Clone)]
pub struct Claim {
    /// "MaxVA, section 4.1, figure 2"
    pub source: &'static str,
    /// One sentence.
    pub claim: String,
    /// The paper's number, or nothing.
    pub paper: String,
    /// Ours, with its standard error.
    pub ours: String,
    pub verdict: Verdict,
    /// By which rule the verdict comes, and why it is what it is.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Reproduced,
    Partly,
    NotReproduced,
    /// The seeds do not tell: the difference lies within the margin that its rule asks for.
    Undecided,
    /// Not a claim of the paper's, but measured here.
    Found,
}

impl Verdict {
    const ALL: [Self; 5] =
        [Self::Reproduced, Self::Partly, Self::NotReproduced, Self::Undecided, Self::Found];

    fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
            Self::Undecided => "undecided",
            Self::Found => "found here",
        }
    }
}

/// The file NAME.csv.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(name: impl Into<String>, columns: &[&str]) -> Self {
        Self { name: name.into(), columns: columns.iter().map(|c| c.to_string()).collect(), rows: vec![] }
    }

    /// Adds a row; numbers are written so that they read back the same.
    pub fn row(&mut self, cells: &[&dyn std::fmt::Display]) {
        self.rows.push(cells.iter().map(|cell| cell.to_string()).collect());
    }

    fn csv(&self) -> String {
        let cell = |text: &String| {
            if text.contains([',', '"', '\n']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.clone()
            }
        };
        let line = |cells: &Vec<String>| cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.columns).chain(&self.rows).map(line).collect()
    }
}

/// `1.234 ± 0.056`, to two digits of the error.
pub fn plus_minus(value: f64, error: f64) -> String {
    if !value.is_finite() || !error.is_finite() || error <= 0.0 {
        return number(value);
    }
    let place = error.log10().floor() as i32 - 1;
    let exponent = value.abs().max(error).log10().floor() as i32;
    if (-4..5).contains(&exponent) && (-6..=0).contains(&place) {
        let digits = (-place).max(0) as usize;
        format!("{value:.digits$} ± {error:.digits$}")
    } else {
        let digits = (exponent - place).clamp(0, 6) as usize;
        let scale = 10f64.powi(exponent);
        format!("({:.digits$} ± {:.digits$})e{exponent}", value / scale, error / scale)
    }
}

/// A number in three or four digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if (1e-3..1e5).contains(&size) {
        let digits = (3 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        format!("{value:.2e}")
    }
}

/// How many claims have which verdict.
pub fn verdicts(findings: &Findings) -> String {
    let count = |verdict| findings.claims.iter().filter(|claim| claim.verdict == verdict).count();
    let counts = Verdict::ALL.map(|verdict| (count(verdict), verdict.words()));
    let words =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
    words.collect::<Vec<_>>().join(", ")
}

/// How a run was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// As it would be typed.
    pub command: String,
    pub adapter: String,
    pub quick: bool,
    pub seconds: f64,
}

/// What REPORT.md needs of an experiment: the file NAME.json.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    title: String,
    made: Made,
    claims: Vec<SavedClaim>,
    /// Name and title.
    charts: Vec<(String, String)>,
    tables: Vec<String>,
    notes: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedClaim {
    source: String,
    claim: String,
    paper: String,
    ours: String,
    verdict: Verdict,
    why: String,
}

/// Writes an experiment's pictures and tables into `folder`, and last what REPORT.md needs of it.
pub fn save(folder: &Path, name: &str, title: &str, findings: &Findings, made: Made) -> Result<()> {
    ensure!(!findings.claims.is_empty(), "{name} found nothing");
    for chart in &findings.charts {
        chart.draw(folder)?;
    }
    for table in &findings.tables {
        write(&folder.join(format!("{}.csv", table.name)), &table.csv())?;
    }
    let claims = findings.claims.iter().cloned().map(|claim| SavedClaim {
        source: claim.source.into(),
        claim: claim.claim,
        paper: claim.paper,
        ours: claim.ours,
        verdict: claim.verdict,
        why: claim.why,
    });
    let saved = Saved {
        title: title.into(),
        made,
        claims: claims.collect(),
        charts: findings.charts.iter().map(|chart| (chart.name.clone(), chart.title.clone())).collect(),
        tables: findings.tables.iter().map(|table| table.name.clone()).collect(),
        notes: findings.notes.trim().into(),
    };
    write(&folder.join(format!("{name}.json")), &(serde_json::to_string_pretty(&saved)? + "\n"))
}

/// Writes REPORT.md from what is in `folder` of these experiments, in this order.
pub fn write_report(folder: &Path, names: &[&str]) -> Result<()> {
    let mut all = vec![];
    for name in names {
        let path = folder.join(format!("{name}.json"));
        if let Ok(text) = std::fs::read_to_string(&path) {
            let saved: Saved = serde_json::from_str(&text)
                .with_context(|| format!("{} is not of this program; remove it", path.display()))?;
            all.push((*name, saved));
        }
    }
    write(&folder.join("REPORT.md"), &markdown(&all)?)
}

fn markdown(all: &[(&str, Saved)]) -> Result<String> {
    let mut text = String::from("# The papers' experiments, claim by claim\n\n");
    text += "Written by `cargo run --release -p wgpu-optim-papers`. \
             Behind ± is one standard error over the seeds. Every claim says by which rule its verdict comes.\n\n";
    text += "| experiment |";
    Verdict::ALL.iter().for_each(|verdict| text += &format!(" {} |", verdict.words()));
    text += "\n|---|---|---|---|---|\n";
    for (name, saved) in all {
        write!(text, "| [{name}](#{name}) |")?;
        for verdict in Verdict::ALL {
            let count = saved.claims.iter().filter(|claim| claim.verdict == verdict).count();
            write!(text, " {} |", if count == 0 { String::new() } else { count.to_string() })?;
        }
        text += "\n";
    }
    for (name, saved) in all {
        let made = &saved.made;
        write!(text, "\n## {name}\n\n**{}**\n\n", saved.title)?;
        writeln!(text, "`{}`: {:.0} s on {}\n", made.command, made.seconds, made.adapter)?;
        if made.quick {
            text += "**A quick run: sizes are small and verdicts mean little.**\n\n";
        }
        text += "| source | claim | paper | here | verdict | why |\n|---|---|---|---|---|---|\n";
        for claim in &saved.claims {
            let verdict = format!("**{}**", claim.verdict.words());
            let cells =
                [&claim.source, &claim.claim, &claim.paper, &claim.ours, &verdict, &claim.why].map(|cell| {
                    let cell = cell.split_whitespace().collect::<Vec<_>>().join(" ");
                    cell.replace('|', "\\|")
                });
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        for (chart, title) in &saved.charts {
            write!(text, "\n![{title}]({chart}.png)\n")?;
        }
        let mut files: Vec<String> =
            saved.tables.iter().map(|table| format!("[{table}.csv]({table}.csv)")).collect();
        files.extend(saved.charts.iter().map(|(chart, _)| format!("[{chart}.svg]({chart}.svg)")));
        if !files.is_empty() {
            write!(text, "\nData and vector graphics: {}\n", files.join(", "))?;
        }
        if !saved.notes.is_empty() {
            write!(text, "\n{}\n", saved.notes)?;
        }
    }
    Ok(text)
}

/// Writes beside, then renames: an interrupt leaves the old file or the new one.
fn write(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}
