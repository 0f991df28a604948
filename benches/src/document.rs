//! What was measured, as it is written to JSON and read from it again.

use crate::turns::{Quartiles, Times};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The version of [`Document`] and [`PeerFile`].
pub const VERSION: u32 = 1;

/// Everything of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    pub version: u32,
    /// Version of the library.
    pub library: String,
    /// When the run began, as RFC 3339 writes it.
    pub begun: String,
    pub adapters: Vec<Report>,
    /// Adapters that were there and gave no device, and why.
    pub passed_over: Vec<String>,
}

/// One adapter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub backend: String,
    pub driver: String,
    pub device_type: String,
    /// A CPU that plays a GPU: its figures say nothing about one.
    pub software: bool,
    /// Nanoseconds of a tick of the GPU's clock; none without timestamps.
    pub tick_ns: Option<f64>,
    pub largest_binding: u64,
    pub invocations: u32,
    pub rows: Vec<Row>,
    pub starts: Vec<Start>,
    pub peers: Vec<PeerRow>,
    /// What could not be measured, and why.
    pub errors: Vec<String>,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub section: String,
    pub name: String,
    pub parameters: u64,
    pub tensors: usize,
    pub groups: usize,
    /// Dispatches of a step.
    pub dispatches: usize,
    /// Bytes that a step reads and writes.
    pub bytes: u64,
    /// Seconds of a step on the GPU, by timestamps around many.
    pub gpu_s: Option<Quartiles>,
    /// Seconds of a step that is recorded, submitted and waited for.
    pub wall_s: Option<Quartiles>,
    /// Seconds of the host to record a step.
    pub host_s: Option<Quartiles>,
    /// Bytes a second over those of the kernel that copies, measured in turns with it.
    pub share_of_copy: Option<Quartiles>,
    /// A quotient of times: of this row over the other, in turns.
    pub over: Option<Over>,
    /// Bytes beyond parameters, gradients and slots.
    pub overhead_bytes: Option<u64>,
    /// Whether the clock resolves what was measured.
    pub ranked: bool,
}

/// The time of a row over that of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Over {
    pub what: String,
    pub ratio: Quartiles,
    /// What we want of it.
    pub target: Option<String>,
}

impl Row {
    /// A row of what was measured.
    pub fn new(section: &str, name: impl Into<String>, times: &Times) -> Self {
        Self {
            section: section.into(),
            name: name.into(),
            parameters: 0,
            tensors: 1,
            groups: 1,
            dispatches: 1,
            bytes: 0,
            gpu_s: Quartiles::of(&times.gpu),
            wall_s: Quartiles::of(&times.wall),
            host_s: Quartiles::of(&times.host),
            share_of_copy: None,
            over: None,
            overhead_bytes: None,
            ranked: times.is_ranked(),
        }
    }

    /// Seconds of a step, by the GPU's clock where there is one.
    pub fn seconds(&self) -> Option<Quartiles> {
        self.gpu_s.or(self.wall_s)
    }

    /// Bytes read and written a second.
    pub fn rate(&self) -> Option<f64> {
        Some(self.bytes as f64 / self.seconds()?.median)
    }
}

/// Time to the first step: modules, pipelines, buffers and the step itself, on a fresh device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub optimizer: String,
    /// Seconds to make the program: no device is needed for it.
    pub program_s: f64,
    /// Seconds to make the optimizer: buffers, modules, pipelines.
    pub optimizer_s: f64,
    /// Seconds of the first step, submitted and waited for.
    pub first_step_s: f64,
}

/// What another library measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerFile {
    pub version: u32,
    pub rows: Vec<PeerTime>,
}

/// A step of another library, or of ours measured beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTime {
    /// Name and version.
    pub library: String,
    pub variant: String,
    pub optimizer: String,
    pub device: String,
    pub parameters: u64,
    pub tensors: usize,
    pub groups: usize,
    /// Seconds on the GPU.
    pub gpu_s: Option<f64>,
    /// Seconds of a step that is submitted and waited for.
    pub wall_s: Option<f64>,
}

impl PeerTime {
    /// Whether this is our own library, measured beside the peer.
    pub fn is_ours(&self) -> bool {
        self.library.starts_with("wgpu-optim")
    }

    /// Whether both are steps of the same size.
    pub fn is_like(&self, other: &Self) -> bool {
        let size = |row: &Self| (row.parameters, row.tensors, row.groups);
        size(self) == size(other) && self.optimizer == other.optimizer
    }
}

/// A peer's step and ours of the same size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerRow {
    pub peer: PeerTime,
    pub ours: PeerTime,
    /// The peer's time over ours: above 1 ours is faster.
    pub ratio: f64,
    /// "gpu" or "wall".
    pub by: String,
    /// Whether ours was measured in turns with the peer, in one process.
    pub in_turns: bool,
}

impl PeerFile {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read peers from {name}"))?;
        Self::parse(&text).with_context(|| format!("peers of {name}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let file: Self = serde_json::from_str(text).context("not a file of peers")?;
        if file.version != VERSION {
            bail!("version {} is not {VERSION}", file.version);
        }
        for (i, row) in file.rows.iter().enumerate() {
            let good = |seconds: Option<f64>| seconds.is_none_or(|seconds| seconds > 0.0 && seconds < 1e6);
            if !good(row.gpu_s) || !good(row.wall_s) {
                bail!(
                    "row {i}, {}: gpu_s {:?} and wall_s {:?} must be seconds",
                    row.library,
                    row.gpu_s,
                    row.wall_s
                );
            }
            if row.gpu_s.is_none() && row.wall_s.is_none() {
                bail!("row {i}, {}: it has neither gpu_s nor wall_s", row.library);
            }
            if row.parameters == 0 || row.tensors == 0 || row.groups == 0 {
                bail!("row {i}, {}: parameters, tensors and groups must be above 0", row.library);
            }
        }
        Ok(file)
    }
}

/// The quotient of a peer's time and ours, by the same clock.
pub fn compare(peer: &PeerTime, ours: &PeerTime, in_turns: bool) -> Option<PeerRow> {
    let by_gpu = peer.gpu_s.zip(ours.gpu_s).map(|times| (times, "gpu"));
    let by_wall = peer.wall_s.zip(ours.wall_s).map(|times| (times, "wall"));
    let ((theirs, own), by) = by_gpu.or(by_wall)?;
    let (peer, ours) = (peer.clone(), ours.clone());
    Some(PeerRow { peer, ours, ratio: theirs / own, by: by.into(), in_turns })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"library": "x 1", "variant": "", "optimizer": "adamw", "device": "d", "parameters": 8,
        "tensors": 2, "groups": 1, "gpu_s": null, "wall_s": 0.5}"#;

    fn file(version: &str, rows: &str) -> String {
        format!(r#"{{"version": {version}, "rows": [{rows}]}}"#)
    }

    #[test]
    fn a_file_of_peers_is_read() {
        let file = PeerFile::parse(&file("1", ROW)).unwrap();
        assert_eq!((file.rows[0].parameters, file.rows[0].wall_s), (8, Some(0.5)));
    }

    #[test]
    fn malformed_and_foreign_files_are_refused() {
        let no_time = ROW.replace("0.5", "null");
        for (text, says) in [
            ("{".to_string(), "not a file of peers"),
            (file("2", ROW), "version 2 is not 1"),
            (r#"{"rows": []}"#.into(), "missing field `version`"),
            (file("1", r#"{"library": "x"}"#), "missing field"),
            (file("1", &ROW.replace("\"x 1\"", "7")), "invalid type"),
            (file("1", &no_time), "neither gpu_s nor wall_s"),
            (file("1", &ROW.replace("0.5", "-1")), "must be seconds"),
            (file("1", &ROW.replace("0.5", "0")), "must be seconds"),
            (file("1", &ROW.replace(": 8", ": 0")), "above 0"),
            (file("1", &ROW.replace("\"wall_s\"", "\"wall\"")), "unknown field"),
        ] {
            let message = format!("{:#}", PeerFile::parse(&text).unwrap_err());
            assert!(message.contains(says), "{message} says nothing of '{says}'");
        }
    }

    #[test]
    fn times_are_compared_by_the_same_clock() {
        let time = |gpu_s, wall_s| PeerTime {
            gpu_s,
            wall_s,
            ..PeerFile::parse(&file("1", ROW)).unwrap().rows[0].clone()
        };
        let both = time(Some(2.0), Some(9.0));
        let row = compare(&both, &time(Some(1.0), Some(1.0)), true).unwrap();
        assert_eq!((row.ratio, row.by.as_str()), (2.0, "gpu"));
        let row = compare(&both, &time(None, Some(3.0)), true).unwrap();
        assert_eq!((row.ratio, row.by.as_str()), (3.0, "wall"));
        assert!(compare(&time(Some(1.0), None), &time(None, Some(1.0)), true).is_none());
    }
}
