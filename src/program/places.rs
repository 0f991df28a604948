//! How many steps' rows of host scalars there is room for.

use super::VEC4;
use super::row_masks::COUNTS;
use super::rows::RowLayout;

/// How many rows of each kind the rings hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub set: usize,
    pub counted: usize,
}

impl Places {
    /// For so many `owners` of these rows, in the table of each of some `windows`; more where steps may be skipped. `binding`
    /// is the largest that a table may be. Enough for `ahead` steps before a submit, however large that is. `ends` says that counts do not go round in a ring.
    pub fn new(
        layout: &RowLayout,
        owners: usize,
        windows: usize,
        skips: bool,
        binding: u64,
        ahead: u32,
        ends: bool,
    ) -> Self {
        let ahead = ahead as usize;
        let bytes = |vec4: u32| (owners as u64 * u64::from(vec4) * VEC4 * windows.max(1) as u64).max(1);
        let fit = |bytes: u64, budget: u64, fewest: u64, most: u64| {
            let wanted = (budget / bytes).clamp(fewest, most);
            wanted.min(binding / 4 / bytes * windows.max(1) as u64).max(1) as usize
        };
        let (budget, fewest) = if skips { (512 << 10, 256) } else { (32 << 10, 16) };
        Self {
            set: fit(bytes(layout.now_vec4), 32 << 10, 8, 64).max(ahead),
            counted: match layout.counted_vec4 {
                0 => 1,
                _ if ends => COUNTS,
                vec4 => fit(bytes(vec4), budget, fewest, 1 << 16).max(2 * ahead),
            },
        }
    }
}
