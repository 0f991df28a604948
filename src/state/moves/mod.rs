//! What has to be moved on a device when a set of tensors is made anew: tensors added and removed, rows pruned, cloned and put
//! in another order. Pure: an executor records the copies and dispatches the passes.

mod plan;

use super::refused;
use crate::error::Error;
use crate::program::{Binding, Clock, Limits, Module, Program, RowMasks, Slice, Tensors, WORKGROUP};
use crate::rule::{Config, SlotKind};
use plan::Plan;
use serde::{Deserialize, Serialize};

/// Of a list of rows: one that comes from nowhere. Its parameters and gradients are zero, or what the host has written, and
/// its slots as at the start.
pub const NONE: u32 = u32::MAX;
/// Added to a row of a list: its parameters and gradients are taken, and its slots are as at the start.
pub const FRESH: u32 = 1 << 31;

/// Entry point of the modules that move rows, [`Gather::wgsl`].
pub const GATHER_ENTRY_POINT: &str = "gather_rows";
/// What they bind: chunks, list, old words, new words.
pub const GATHER_LAYOUT: [Binding; 4] =
    [Binding::ReadOnly, Binding::ReadOnly, Binding::ReadOnly, Binding::ReadWrite];

/// Where a tensor's words come from, where that is not the tensor of the same name and shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// A tensor of the new set.
    pub tensor: String,
    /// What it takes over; nothing if left out: then it starts as in a new optimizer.
    pub from: Option<Taken>,
}

/// Rows of a tensor of the old set, along its first dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The tensor of the old set.
    pub tensor: String,
    /// Which rows.
    pub rows: List,
}

/// A list of rows: for each new one the old one that it takes over, any number of times, or [`NONE`]; plus [`FRESH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// Known to the host, and checked.
    Rows(Vec<u32>),
    /// Words on the device, by a number that the host gives to each. A row that is not there is taken as [`NONE`].
    OnDevice(usize),
}

/// A program, and the tensors that it was made for.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its tensors.
    pub tensors: &'a Tensors,
}

/// What to do on the device, in this order: copies, then a dispatch for each of the passes, which do not depend on one
/// another. Slices of what is read are of the old program's buffers, of what is written of the new one's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// Bytes as they are.
    pub copies: Vec<(Slice, Slice)>,
    /// Rows by a list.
    pub passes: Vec<Gather>,
    /// A buffer of lists.
    pub lists: Vec<u32>,
}

/// A dispatch of workgroups of [`WORKGROUP`], with the bindings of [`GATHER_LAYOUT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// Its module's text: one of a few.
    pub wgsl: &'static str,
    /// What its chunks are.
    pub chunks: Vec<[u32; 8]>,
    /// The list that it binds.
    pub list: Bound,
    /// The old words that it binds.
    pub from: Slice,
    /// The new words that it binds.
    pub to: Slice,
    /// Rows of the new tensors: words of the list.
    pub rows: u64,
    /// Workgroups in x and y.
    pub workgroups: [u32; 2],
}

impl Gather {
    /// Its module. Its layout is [`GATHER_LAYOUT`].
    pub fn module(&self) -> Module {
        Module {
            label: "wgpu-optim: take over".into(),
            wgsl: self.wgsl.into(),
            entry_point: GATHER_ENTRY_POINT.into(),
            invocations: WORKGROUP,
            layout: 0,
        }
    }
}

/// Where a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// In [`Moves::lists`]: first byte, and bytes.
    Lists(u64, u64),
    /// On the device, by its number.
    OnDevice(usize),
}

impl Moves {
    /// What takes an optimizer on `old` over to one on `new`, whose clock becomes that of a run that goes on: with the
    /// configurations and counts of the old one.
    ///
    /// Tensors of the same name and shape are taken over, and those that `changes` name; tensors that the old set does not
    /// have start as in a new optimizer. Both need the same rule, wrappers and groups; what is tuned to a device may differ.
    /// Counts of rows that count their own steps go with the rows; masks start with every row acting.
    ///
    /// # Errors
    /// [`Error::State`], naming every difference: another rule, wrappers or groups, tensors of another shape, tensors that are
    /// not there, lists of another length or with rows that are not there, rows of a factored tensor. [`Error::Limit`] for a list
    /// longer than a binding.
    pub fn between<C: Config>(
        old: (Side<'_>, &Clock<C>),
        new: (Side<'_>, &Clock<C>),
        changes: &[Change],
        limits: &Limits,
    ) -> Result<(Self, Clock<C>), Error> {
        let ((old, old_clock), (new, new_clock)) = (old, new);
        check_alike(old.program, new.program)?;
        let mut plan = Plan::new(old, new, limits);
        for (index, change) in changes.iter().enumerate() {
            if changes[..index].iter().any(|before| before.tensor == change.tensor) {
                plan.differences.push(format!("'{}' is to be changed twice", change.tensor));
            }
            if !new.program.tensors.iter().any(|tensor| tensor.name == change.tensor) {
                plan.differences.push(format!("there is no tensor '{}' to change", change.tensor));
            }
        }
        for index in 0..new.tensors.tensors().len() {
            plan.tensor(index, changes)?;
        }
        plan.readings();
        let progress = plan.counts(old_clock.progress())?;
        if !plan.differences.is_empty() {
            return Err(refused(plan.differences.join("; ")));
        }
        let mut clock = new_clock.clone();
        for (index, group) in old_clock.groups().iter().enumerate() {
            if let Some(own) = clock.group_mut(index) {
                *own = group.clone();
            }
        }
        *clock.wrappers_mut() = *old_clock.wrappers();
        clock.resume(&progress)?;
        Ok((plan.finish(), clock))
    }
}

/// Refuses two programs whose words do not mean the same.
fn check_alike(old: &Program, new: &Program) -> Result<(), Error> {
    let slots = |program: &Program| -> Vec<(String, SlotKind, u32)> {
        program.slots.iter().map(|slot| (slot.name.clone(), slot.kind, slot.depth)).collect()
    };
    let differ = |what: &str, old: String, new: String| Err(refused(format!("{what} {old}, not {new}")));
    if old.optimizer != new.optimizer {
        return differ("it is a run of", format!("'{}'", old.optimizer), format!("'{}'", new.optimizer));
    }
    if old.wrappers != new.wrappers {
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        return differ("it is a run with the wrappers", list(&old.wrappers), list(&new.wrappers));
    }
    if old.groups != new.groups {
        let list = |names: &[String]| format!("[{}]", names.join(", "));
        return differ("its groups are", list(&old.groups), list(&new.groups));
    }
    if !old.rows.owners.is_empty() || !new.rows.owners.is_empty() {
        return Err(refused("tensors that count their own steps cannot be taken over".into()));
    }
    let [masks, own] = [old, new].map(|program| program.row_masks.as_ref().map(|places| places.kind));
    if masks != own {
        let kind = |masks: Option<RowMasks>| match masks {
            None => "have none",
            Some(RowMasks::TensorSteps) => "follow the steps of the tensor",
            Some(RowMasks::RowSteps) => "count their own steps",
        };
        return Err(refused(format!("masks of its rows: they {}, and here they {}", kind(masks), kind(own))));
    }
    if slots(old) != slots(new) {
        return Err(refused("the two keep different slots".into()));
    }
    Ok(())
}
