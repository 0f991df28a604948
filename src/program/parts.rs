//! A part of a model's step: some of its tensors are updated here, the others by other processes on devices of their own.
//! What runs over all tensors (norms of all gradients, skipping, results over all) still sees everything: each part leaves the
//! terms of its tiles, the host brings all parts' terms together, and every part adds them up in the order in which one device
//! with all tensors would: the same bits.

use super::step::Step;
use super::windows::{Plan, Span};
use super::{Limits, Options, Program, Slice, Tensors};
use crate::error::Error;
use crate::rule::Config;
use serde::{Deserialize, Serialize};

/// What a part of a model's step is told, and tells, between its passes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Tiles of each tensor of the whole model, in the order in which its tensors' terms are added up.
    pub tiles: Vec<(String, u32)>,
    /// The tensors of this part, in the order of its own terms.
    pub own: Vec<String>,
    /// In the order of the passes; the same number in every part that has elements.
    pub exchanges: Vec<Exchange>,
}

/// Between two passes: all parts' terms come together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The pass before which it must have happened.
    pub before: u32,
    /// Bytes of each tile.
    pub bytes: u32,
    /// The terms of this part, tile by tile.
    pub own: Slice,
    /// Where the terms of the whole model go.
    pub all: Slice,
}

impl Program {
    /// The program of some tensors of a model: `tensors` are updated here, `whole` are all, laid out as one device would
    /// have them. Tensors are known by name. What has no number over all tensors needs no exchange, and is as if the tensors
    /// were alone.
    ///
    /// # Errors
    /// As [`new`](Program::new); [`Error::Program`] for a tensor that is not in the whole model or is cut in another way there.
    pub fn part<C: Config>(
        tensors: &Tensors,
        whole: &Tensors,
        groups: &[C],
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, Error> {
        Self::assemble(tensors, Some(whole), groups, options, limits)
    }

    /// Whether what happens to an element follows from its own numbers, and from what is over all tensors: then a tensor may
    /// be cut into ranges of rows that are updated apart.
    ///
    /// # Errors
    /// As [`new`](Program::new).
    pub fn is_element_wise<C: Config>(
        groups: &[C],
        options: &Options,
        limits: &Limits,
    ) -> Result<bool, Error> {
        let Some(first) = groups.first() else { return Ok(true) };
        let step = Step::resolve(first.rule(), groups, options, limits)?;
        Ok(!step.spec.is_factored() && step.reductions.iter().all(|reduction| reduction.tensor.is_none()))
    }
}

/// Tiles of each tensor, in the order of their terms.
pub(super) fn tiles_in_order(plan: &Plan, tensors: &Tensors) -> Vec<(String, u32)> {
    let mut tiles: Vec<(u32, u32)> = vec![];
    for tile in plan.windows.iter().flat_map(|window| &window.tiles) {
        match tiles.last_mut() {
            Some((tensor, count)) if *tensor == tile.tensor => *count += 1,
            _ => tiles.push((tile.tensor, 1)),
        }
    }
    let name = |tensor: u32| tensors.tensors()[tensor as usize].name.clone();
    tiles.into_iter().map(|(tensor, count)| (name(tensor), count)).collect()
}

/// Refuses tensors whose tiles are others than in the whole model.
pub(super) fn check_own(own: &[(String, u32)], whole: &[(String, u32)]) -> Result<(), Error> {
    let refused = |reason: String| Err(Error::Program { reason });
    for (name, tiles) in own {
        match whole.iter().find(|(other, _)| other == name) {
            None => return refused(format!("tensor '{name}' is not in the whole model")),
            Some((_, there)) if there != tiles => {
                return refused(format!("tensor '{name}' has {tiles} tiles, and {there} in the whole model"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The spans of tensors, each owned as the options want it.
pub(super) fn spans_of(tensors: &Tensors, options: &Options) -> Vec<Span> {
    let mut spans = tensors.spans();
    if options.own_steps {
        spans.iter_mut().for_each(|span| span.owner = span.tensor);
    }
    spans
}
