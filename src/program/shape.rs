//! How the elements of a tile are dealt to invocations.

use super::limits::Limits;
use crate::error::{Error, Refusal};
use serde::{Deserialize, Serialize};

/// How the elements of a tile are dealt to invocations. Results do not depend on it, but for the last bits of rules with
/// norms, sums, rows or columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 64 invocations that take long runs of neighbours, each with a count of steps of its own: for CPUs, which run
    /// invocations in turn, and where a barrier costs a sixth of a step.
    Long,
    /// So many invocations (64, 128 or 256) that each take one vec4 of a tile and do not loop; a tile has one count of
    /// steps, which one invocation reads for all. For GPUs: a loop of 64 vec4 was seen to cost 8 to 17 %.
    Wide(u32),
}

/// Elements of a tile where there are sums: their tree follows the tiles, so these must not depend on how much there is.
const TILE_OF_SUMS: u64 = 1 << 12;
/// Elements of the largest long tile.
const LONG_TILE: u64 = 1 << 14;
/// Elements of a tile that one invocation of a CPU takes, where all are as small.
const TINY: u64 = 512;

impl Shape {
    /// What the kind of device wants: long runs on a CPU, 128 invocations on a GPU, or as many as it allows.
    pub fn for_device(limits: &Limits) -> Self {
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        if limits.software { Shape::Long } else { Shape::Wide(if most >= 128 { 128 } else { 64 }) }
    }

    pub(crate) fn check(self) -> Result<Self, Error> {
        match self {
            Shape::Long | Shape::Wide(64 | 128 | 256) => Ok(self),
            Shape::Wide(invocations) => {
                let refusal = Refusal::new("shape.wide", invocations, "64, 128 or 256");
                Err(Error::Config { group: "every group".into(), refusal })
            }
        }
    }

    /// Invocations of a workgroup.
    pub(crate) fn invocations(self) -> u32 {
        match self {
            Shape::Long => 64,
            Shape::Wide(invocations) => invocations,
        }
    }

    /// How many small tiles share a workgroup, each with its part of the invocations: for a GPU what takes the fewest
    /// workgroups. A CPU is fastest when neighbours in memory are neighbours in time, so eight share there, whatever their
    /// size; where all are tiny, each has one invocation, which finds its tile once. Where there are sums, always as many:
    /// their tree must not depend on other tensors.
    pub(crate) fn packed(self, tile: u64, sums: bool, counts: impl Iterator<Item = u64> + Clone) -> u64 {
        match self {
            _ if sums => 8,
            Shape::Long if counts.clone().all(|count| count <= TINY) => u64::from(self.invocations()),
            Shape::Long => 8,
            Shape::Wide(_) => {
                let workgroups = |packed: &u64| {
                    let small = self.small(tile, *packed);
                    let (few, all) = counts
                        .clone()
                        .fold((0, 0), |(few, all), count| (few + u64::from(count <= small), all + 1));
                    all - few + few.div_ceil(*packed)
                };
                [8, 4, 2, 16].into_iter().min_by_key(workgroups).unwrap_or(8)
            }
        }
    }

    /// Elements of the largest tile that shares a workgroup.
    pub(crate) fn small(self, tile: u64, packed: u64) -> u64 {
        match self {
            Shape::Long => u64::MAX,
            Shape::Wide(_) => tile / packed,
        }
    }

    /// Elements of a tile of so many in all: a small model has enough tiles for several cores.
    pub(crate) fn tile(self, sums: bool, elements: u64) -> u64 {
        match self {
            _ if sums => TILE_OF_SUMS,
            Shape::Long => (elements / 256).next_power_of_two().clamp(1 << 10, LONG_TILE),
            Shape::Wide(invocations) => 4 * u64::from(invocations),
        }
    }
}
