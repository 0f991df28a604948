//! What the host counts and remembers of a run.

use crate::rule::HostState;
use serde::{Deserialize, Serialize};

/// The counts of one owner of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Steps recorded that it was not left out of.
    pub acted: u64,
    /// The largest count of steps taken that host scalars were made for: at least that of the device.
    pub made: u64,
    /// What the device's count was before step `known_at`, of those it was not left out of, ran.
    pub known: u64,
    /// See `known`.
    pub known_at: u64,
}

impl Counts {
    /// The largest count for which the next step may need rows. Encoders that are submitted after ones which were
    /// recorded later are not in what is known: a part of the ring is made for them. Where steps may be skipped, the rows
    /// of the count that is known have to stay in the ring.
    pub(super) fn largest(&self, places: u64, stays: bool) -> u64 {
        let late = if self.known_at > 0 { places / 4 } else { 0 };
        let largest = self.acted + 1 - self.known_at + late;
        self.known + if stays { largest.min(places) } else { largest }
    }
}

/// What the host has to remember of a run, beside the configurations, so that another process goes on with the same bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps recorded.
    pub recorded: u64,
    /// The largest count of steps taken that host scalars were made for: at least that of the device.
    pub made: u64,
    /// What the device's count was before step `known_at`, of those recorded, ran.
    pub known: u64,
    /// See `known`.
    pub known_at: u64,
    /// What each group's rule keeps on the host from step to step, at the count `made`; of each tensor, if they count their
    /// own steps.
    pub memory: Vec<HostState>,
    /// Whether each group's weights were wanted for evaluation in the step before.
    pub evaluated: Vec<bool>,
    /// The counts of each tensor, if they count their own steps; those above are then the largest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<Counts>,
}
