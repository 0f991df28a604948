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
    /// steps, read before a barrier and written behind it. For GPUs: a loop of 64 vec4 was seen to cost 8 to 17 %.
    Wide(u32),
}

/// Elements of a tile where there are sums: their tree follows the tiles, so these must not depend on how much there is.
const TILE_OF_SUMS: u64 = 1 << 12;
/// Elements of a long tile.
const LONG_TILE: u64 = 1 << 14;

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

    /// Elements of a tile.
    pub(crate) fn tile(self, sums: bool) -> u64 {
        match self {
            _ if sums => TILE_OF_SUMS,
            Shape::Long => LONG_TILE,
            Shape::Wide(invocations) => 4 * u64::from(invocations),
        }
    }

    /// Elements of the largest tile that shares a workgroup with seven others. A CPU is fastest when neighbours in memory
    /// are neighbours in time: all tiles share there.
    pub(crate) fn small(self, tile: u64) -> u64 {
        match self {
            Shape::Long => u64::MAX,
            Shape::Wide(_) => tile / super::windows::PACKED,
        }
    }
}
