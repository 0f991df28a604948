//! What a run has to go on with: every word that persists, by name, and what the host remembers. Pure: an executor reads the
//! words off its device and writes them back.

mod counts;
mod differences;
#[cfg(feature = "checkpoint")]
mod file;
mod moves;
#[cfg(all(feature = "checkpoint", not(target_arch = "wasm32")))]
mod open;

use crate::error::Error;
use crate::json;
use crate::program::{Clock, Persistent, Program, Progress, Slice};
use crate::rule::Config;
use crate::wrappers::Wrappers;
use counts::{Places, is_of_counts, row_of};
use differences::Differences;
pub use moves::{
    Bound, Change, FRESH, GATHER_ENTRY_POINT, GATHER_LAYOUT, Gather, List, Moves, NONE, Side, Taken,
};
#[cfg(all(feature = "checkpoint", not(target_arch = "wasm32")))]
pub use open::StateFile;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the format of [`About`].
const VERSION: u32 = 1;
/// A bit of the device's counts, as in `shaders/core/tiles.wgsl`.
const EVALUATES: u32 = 1 << 31;
/// Names of the words that belong to no tensor begin with these.
const STEPS: &str = "steps/";
const ROWS: &str = "rows/";

/// Everything of an optimizer that a run goes on with: slots, counts, device scalars, the loss scale, what wrappers keep, and
/// what the host remembers; with the parameters, if they were asked for.
///
/// Loaded into an optimizer of the same rule, wrappers and tensors, it gives the same bits as if the run had never stopped:
/// in another process, on another device of the same kind, with other tiles or windows where the rule has no norms.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    about: About,
    /// Bits by name.
    words: BTreeMap<String, Vec<u32>>,
}

/// What the words are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    version: u32,
    library: String,
    optimizer: String,
    /// The program's hash.
    program: String,
    wrappers: Wrappers,
    groups: Vec<Group>,
    tensors: Vec<Tensor>,
    progress: Progress,
    /// Words of host scalars for one count: of all groups, or of one tensor, where tensors count their own steps.
    row: u64,
    /// Whether rows are for the counts from 0 on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ends: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    options: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    group: u32,
}

/// A state whose words are still to be read: all that a program and a clock say of it.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    about: About,
    /// Names and numbers of words, in the order in which they are read.
    kept: Vec<(String, usize)>,
    places: Places,
}

impl Unread {
    /// Of these words, as the clock is now.
    pub fn new<C: Config>(program: &Program, clock: &Clock<C>, kept: &[Persistent]) -> Self {
        let group =
            |(name, rule): (&String, &C)| Group { name: name.clone(), options: rule.rule().to_json() };
        let tensor = |tensor: &crate::program::TensorPlace| Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            group: tensor.group,
        };
        let about = About {
            version: VERSION,
            library: env!("CARGO_PKG_VERSION").into(),
            optimizer: program.optimizer.clone(),
            program: format!("{:016x}", program.hash()),
            wrappers: *clock.wrappers(),
            groups: program.groups.iter().zip(clock.groups()).map(group).collect(),
            tensors: program.tensors.iter().map(tensor).collect(),
            progress: clock.progress(),
            row: row_of(program),
            ends: program.rows.ends,
        };
        let words = |kept: &Persistent| kept.slices.iter().map(|slice| slice.size as usize / 4).sum();
        let kept = kept.iter().map(|kept| (kept.name.clone(), words(kept))).collect();
        Self { about, kept, places: Places::of(program) }
    }

    /// With the words, one behind the other.
    ///
    /// # Errors
    /// [`Error::State`] for another number of them.
    pub fn read(self, words: &[u32]) -> Result<OptimizerState, Error> {
        let mut state = OptimizerState { about: self.about, words: BTreeMap::new() };
        let mut rest = words;
        for (name, count) in self.kept {
            let split = rest.split_at_checked(count);
            let (own, after) = split.ok_or_else(|| refused(format!("'{name}' is not all there")))?;
            state.words.insert(name, own.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(refused(format!("there are {} words more than are kept", rest.len())));
        }
        state.keep_rows_to_come(&self.places);
        Ok(state)
    }
}

/// Words to write to a device, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Where they go, and their bits.
    pub writes: Vec<(Slice, Vec<u32>)>,
    /// How the state differs from the optimizer, in words: empty if all of it was taken.
    pub left: Vec<String>,
}

/// What of a state goes where.
#[derive(Default)]
pub(crate) struct Placed {
    /// Slots, and what the whole optimizer keeps: words of the same names.
    pub slots: Vec<Persistent>,
    /// Counts, and host scalars that follow from them.
    pub writes: Vec<(Slice, Vec<u32>)>,
    /// As [`Restored::left`].
    pub left: Vec<String>,
}

impl OptimizerState {
    /// What an executor reads off its device, in this order, for [`new`](OptimizerState::new).
    pub fn kept(program: &Program) -> Vec<Persistent> {
        // Rows are the same in every window.
        let is_copy = |name: &str| name.starts_with(ROWS) && name != "rows/0";
        program.persistent().into_iter().filter(|words| !is_copy(&words.name)).collect()
    }

    /// The same in two parts: slots of tensors, which may be large, and the rest.
    pub fn kept_apart(program: &Program) -> (Vec<Persistent>, Vec<Persistent>) {
        let slots = program.slot_names().count() * program.tensors.len();
        let mut kept = Self::kept(program);
        // Slots come first.
        let rest = kept.split_off(slots);
        (kept, rest)
    }

    /// Of the bits of all that is [`kept`](OptimizerState::kept), one behind the other.
    ///
    /// # Errors
    /// [`Error::State`] for another number of words.
    pub fn new<C: Config>(program: &Program, clock: &Clock<C>, words: &[u32]) -> Result<Self, Error> {
        Unread::new(program, clock, &Self::kept(program)).read(words)
    }

    /// As [`new`](OptimizerState::new), without the slots: of the bits of the second part of
    /// [`kept_apart`](OptimizerState::kept_apart). To be saved with the slots
    /// ([`save_with`](OptimizerState::save_with), feature `checkpoint`).
    ///
    /// # Errors
    /// [`Error::State`] for another number of words.
    pub fn without_slots<C: Config>(
        program: &Program,
        clock: &Clock<C>,
        words: &[u32],
    ) -> Result<Self, Error> {
        Unread::new(program, clock, &Self::kept_apart(program).1).read(words)
    }

    /// Steps that were recorded.
    pub fn recorded(&self) -> u64 {
        self.about.progress.recorded
    }

    /// The name of the rule.
    pub fn optimizer(&self) -> &str {
        &self.about.optimizer
    }

    /// Bits by name: `m/fc.weight`, `device_scalars`, …; `param/fc.weight` where parameters were asked for.
    pub fn words(&self) -> impl Iterator<Item = (&str, &[u32])> {
        self.words.iter().map(|(name, words)| (name.as_str(), &words[..]))
    }

    /// The words of this name.
    pub fn get(&self, name: &str) -> Option<&[u32]> {
        self.words.get(name).map(Vec::as_slice)
    }

    /// Adds words to be kept with the state: `param/fc.weight`, `grad/fc.weight`, or `host/…` for whatever else the host wants
    /// to go on with, such as where its data loader was.
    ///
    /// # Errors
    /// [`Error::State`] for another name, which would be the optimizer's own.
    pub fn insert(&mut self, name: &str, words: Vec<u32>) -> Result<(), Error> {
        if !["param/", "grad/", "host/"].iter().any(|room| name.starts_with(room)) {
            return Err(refused(format!("'{name}' does not begin with param/, grad/ or host/")));
        }
        self.words.insert(name.into(), words);
        Ok(())
    }

    /// The shape of a tensor of the state's.
    #[cfg(feature = "checkpoint")]
    pub(crate) fn shape(&self, tensor: &str) -> Option<&[u64]> {
        self.about.tensors.iter().find(|own| own.name == tensor).map(|own| &own.shape[..])
    }

    /// What it is of, as JSON.
    pub fn about(&self) -> String {
        serde_json::to_string(&self.about).unwrap_or_default()
    }

    /// From what [`about`](OptimizerState::about) said, and the words.
    ///
    /// # Errors
    /// [`Error::State`] for malformed JSON, another version, or words that do not belong together.
    pub fn from_parts(about: &str, words: BTreeMap<String, Vec<u32>>) -> Result<Self, Error> {
        let about = json::object(about).map_err(refused)?;
        let version = about.get("version").and_then(Value::as_u64);
        if version != Some(VERSION.into()) {
            let version = version.map_or("none".into(), |version| version.to_string());
            return Err(refused(format!("its version is {version}, and this library reads {VERSION}")));
        }
        let about: About =
            serde_json::from_value(Value::Object(about)).map_err(|error| refused(error.to_string()))?;
        let state = Self { about, words };
        state.check_counts()?;
        Ok(state)
    }

    /// Puts it into a clock, and says what to write to the device. With `strict`, everything must fit; else what does not is
    /// left as it is and listed.
    ///
    /// The numbers of groups and wrappers become those of the state, as `load_state_dict` does in PyTorch; other options must
    /// be the same.
    ///
    /// # Errors
    /// [`Error::State`], naming every difference; nothing was changed then. Another rule and other wrappers are never taken.
    pub fn restore<C: Config>(
        &self,
        program: &Program,
        clock: &mut Clock<C>,
        strict: bool,
    ) -> Result<Restored, Error> {
        let Placed { slots, mut writes, left } =
            self.place(program, clock, strict, |name| self.get(name).map(<[u32]>::len))?;
        for kept in &slots {
            put(&mut writes, kept, self.get(&kept.name).unwrap_or_default());
        }
        Ok(Restored { writes, left })
    }

    /// As [`restore`](OptimizerState::restore), with slots that are elsewhere: `count` says how many words there are of a name.
    pub(crate) fn place<C: Config>(
        &self,
        program: &Program,
        clock: &mut Clock<C>,
        strict: bool,
        count: impl Fn(&str) -> Option<usize>,
    ) -> Result<Placed, Error> {
        let mut differences = Differences::of(self, program, clock)?;
        let groups = differences.groups(self, program, clock);
        let tensors = differences.tensors(self, program);
        let mut placed = Placed::default();
        // Slots of the tensors that are the same, and what the whole optimizer keeps.
        let is_left = |name: &str| {
            let tensor = name.split_once('/').map(|(_, tensor)| tensor);
            tensor.is_some_and(|tensor| {
                program.tensors.iter().any(|own| own.name == tensor) && !tensors.contains(&tensor)
            })
        };
        for kept in Self::kept(program) {
            if is_of_counts(&kept.name) || is_left(&kept.name) {
                continue;
            }
            let needed: u64 = kept.slices.iter().map(|slice| slice.size / 4).sum();
            match count(&kept.name) {
                Some(count) if count as u64 == needed => placed.slots.push(kept),
                Some(count) => {
                    differences.add(format!("'{}' has {count} words in the state, {needed} here", kept.name))
                }
                None => differences.add(format!("'{}' is not in the state", kept.name)),
            }
        }
        let progress = self.put_counts(program, &clock.progress(), &mut differences, &mut placed.writes);
        placed.left = differences.into_list();
        if strict && !placed.left.is_empty() {
            return Err(refused(placed.left.join("; ")));
        }
        let mut made = clock.clone();
        if let Some(groups) = groups {
            for (index, group) in groups.into_iter().enumerate() {
                if let Some(own) = made.group_mut(index) {
                    *own = group;
                }
            }
            *made.wrappers_mut() = self.about.wrappers;
        }
        made.resume(&progress)?;
        *clock = made;
        Ok(placed)
    }
}

/// Deals words to the slices that they are read from.
pub(crate) fn put(writes: &mut Vec<(Slice, Vec<u32>)>, kept: &Persistent, words: &[u32]) {
    let mut rest = words;
    for slice in &kept.slices {
        let (own, after) = rest.split_at(slice.size as usize / 4);
        if !own.is_empty() {
            writes.push((*slice, own.to_vec()));
        }
        rest = after;
    }
}

fn refused(reason: String) -> Error {
    Error::State { reason }
}
