//! A run taken over from another optimizer, in C's shape.

use crate::WgpuOptim;
use crate::code::Kept;
use crate::guard::{Failure, array, name, utf8};
use crate::optimizer::{find, slice};
use crate::types::*;
use wgpu_optim::export::{Language, translate_gather};
use wgpu_optim::state::{Bound, Change, List, Moves, Taken};

/// What a [`WgpuOptimMoves`] points to.
#[derive(Default)]
pub(crate) struct Given {
    moves: Moves,
    copies: Box<[WgpuOptimCopy]>,
    passes: Box<[WgpuOptimGather]>,
    /// Passes point to these, and these to what is kept.
    codes: Box<[WgpuOptimCode]>,
    kept: Vec<Kept>,
}

/// The caller's changes.
///
/// # Safety
/// `changes` is null, or points to `count` changes whose pointers are null, or point to what they say.
pub(crate) unsafe fn changes(changes: *const WgpuOptimChange, count: usize) -> Result<Vec<Change>, Failure> {
    if count == 0 {
        return Ok(vec![]);
    }
    // SAFETY: as the caller says.
    let all = unsafe { array(changes, count, "changes")? };
    let change = |change: &WgpuOptimChange| {
        // SAFETY: as the caller says.
        let tensor =
            utf8(unsafe { name(change.tensor, "the tensor of a change")? }, "the tensor of a change")?;
        if change.from.is_null() {
            return Ok(Change { tensor: tensor.into(), from: None });
        }
        // SAFETY: as the caller says.
        let from = utf8(unsafe { name(change.from, "from")? }, "from")?;
        let rows = if change.rows.is_null() {
            List::OnDevice(change.list)
        } else {
            // SAFETY: as the caller says.
            List::Rows(unsafe { array(change.rows, change.count, "rows")? }.to_vec())
        };
        Ok(Change { tensor: tensor.into(), from: Some(Taken { tensor: from.into(), rows }) })
    };
    all.iter().map(change).collect()
}

impl WgpuOptim {
    pub(crate) fn take_over(
        &mut self,
        old: &Self,
        changes: &[Change],
        language: u32,
    ) -> Result<WgpuOptimMoves, Failure> {
        let language = *find(&Language::ALL, "language", language as usize)?;
        let (moves, clock) = self.described.moves_from(&old.described, changes)?;
        let mut given = Given { moves, ..Given::default() };
        let mut texts: Vec<&str> = vec![];
        for gather in &given.moves.passes {
            if !texts.contains(&gather.wgsl) {
                given.kept.push(Kept::new(translate_gather(gather, language)?));
                texts.push(gather.wgsl);
            }
        }
        given.codes = given.kept.iter().map(Kept::given).collect();
        let mut passes = vec![];
        for gather in &given.moves.passes {
            let index = texts.iter().position(|text| *text == gather.wgsl).unwrap_or(0);
            let (list, list_offset, list_size) = match gather.list {
                Bound::Lists(offset, size) => (usize::MAX, offset, size),
                Bound::OnDevice(number) => (number, 0, 4 * gather.rows),
            };
            passes.push(WgpuOptimGather {
                code: &given.codes[index],
                chunks: gather.chunks.as_flattened().as_ptr(),
                chunk_words: gather.chunks.as_flattened().len(),
                list,
                list_offset,
                list_size,
                from: slice(&gather.from),
                to: slice(&gather.to),
                workgroups: gather.workgroups,
            });
        }
        let copies = given.moves.copies.iter();
        given.copies = copies.map(|(from, to)| WgpuOptimCopy { from: slice(from), to: slice(to) }).collect();
        given.passes = passes.into();
        self.described.clock = clock;
        self.taken = given;
        let Given { moves, copies, passes, .. } = &self.taken;
        Ok(WgpuOptimMoves {
            copies: copies.as_ptr(),
            copy_count: copies.len(),
            passes: passes.as_ptr(),
            pass_count: passes.len(),
            lists: moves.lists.as_ptr(),
            list_words: moves.lists.len(),
        })
    }
}
