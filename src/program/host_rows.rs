//! What the host counts, and the host scalars of every recorded step.
//!
//! The host records steps; which of them really run, and which of these are skipped, only the device knows. So the
//! host scalars go to the device in two kinds of rows:
//!
//! - what is *set* (learning rate, betas, decay) in a row for each recorded step whose settings differ from those of
//!   the step before; a recorded step knows its row;
//! - what *follows from the number of steps taken* (bias corrections, warm-up) in a row for each such number, of which
//!   the device picks the one for its own count.
//!
//! Rows of both kinds lie in rings. The device's count is known now and then ([`observe`](Clock::observe)): from then on
//! it can at most have grown by the steps recorded since, and need not have grown at all. Rows are made for the counts
//! between, which the ring holds as long as fewer steps are recorded between two readings than it has places, however
//! many steps are skipped or never submitted in all.

use super::VEC4;
use super::record::Record;
use super::rows::{FieldPlace, RowLayout};
use crate::error::{Error, Refusal};
use crate::rule::{Config, Field, HostState, MAX_FIELDS, check_host_scalars};
use crate::wrappers::Wrappers;
use serde::{Deserialize, Serialize};

/// What a recorded step has to tell the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The place of the step's record, and of its rows of what is set.
    pub place: usize,
    /// Whether these rows are new.
    pub set: bool,
    /// The place of the counted rows that the step made.
    pub counted: Option<usize>,
}

/// The host's side of the steps of one optimizer.
#[derive(Debug, Clone)]
pub(crate) struct HostRows {
    fields: &'static [Field],
    layout: RowLayout,
    /// Which field stands at which word of the row of what is set.
    now: Vec<(usize, usize)>,
    /// The same of the counted row.
    by_count: Vec<(usize, usize)>,
    places: Places,
    skips: bool,
    state: Vec<HostState>,
    /// What `state` becomes once the step is recorded.
    next_state: Vec<HostState>,
    set: Vec<u32>,
    counted: Vec<u32>,
    /// Which groups' weights were wanted for evaluation in the step before.
    evaluated: Vec<bool>,
    record: Record,
    place: usize,
    /// Whether the last tick was refused.
    refused: bool,
    recorded: u64,
    /// The largest count that rows were made for.
    made: u64,
    /// What the device's count was before step `known_at`, of those recorded, ran.
    known: u64,
    known_at: u64,
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
    /// What each group's rule keeps on the host from step to step, at the count `made`.
    pub memory: Vec<HostState>,
    /// Whether each group's weights were wanted for evaluation in the step before.
    pub evaluated: Vec<bool>,
}

/// How many rows of each kind the rings hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub set: usize,
    pub counted: usize,
}

impl Places {
    /// For `groups` with these rows, in the table of each of some `windows`; more where steps may be skipped. `binding`
    /// is the largest that a table may be. Enough for `ahead` steps before a submit, however large that is.
    pub fn new(
        layout: &RowLayout,
        groups: usize,
        windows: usize,
        skips: bool,
        binding: u64,
        ahead: u32,
    ) -> Self {
        let ahead = ahead as usize;
        let bytes = |vec4: u32| (groups as u64 * u64::from(vec4) * VEC4 * windows.max(1) as u64).max(1);
        let fit = |bytes: u64, budget: u64, fewest: u64, most: u64| {
            let wanted = (budget / bytes).clamp(fewest, most);
            wanted.min(binding / 4 / bytes * windows.max(1) as u64).max(1) as usize
        };
        let (budget, fewest) = if skips { (512 << 10, 256) } else { (32 << 10, 16) };
        Self {
            set: fit(bytes(layout.now_vec4), 32 << 10, 8, 64).max(ahead),
            counted: match layout.counted_vec4 {
                0 => 1,
                vec4 => fit(bytes(vec4), budget, fewest, 1 << 16).max(2 * ahead),
            },
        }
    }
}

impl HostRows {
    /// `skips` says whether steps may be skipped.
    pub fn new(
        fields: &'static [Field],
        layout: RowLayout,
        groups: usize,
        places: Places,
        skips: bool,
    ) -> Self {
        Self {
            skips,
            fields,
            now: words(&layout, |place| if let FieldPlace::Now(at) = place { Some(at) } else { None }),
            by_count: words(
                &layout,
                |place| if let FieldPlace::Counted(at) = place { Some(at) } else { None },
            ),
            state: vec![HostState::default(); groups],
            next_state: vec![HostState::default(); groups],
            set: vec![0; groups * layout.now_vec4 as usize * 4],
            counted: vec![0; groups * layout.counted_vec4 as usize * 4],
            evaluated: vec![false; groups],
            layout,
            places,
            record: Record::default(),
            place: places.set - 1,
            refused: false,
            recorded: 0,
            made: 0,
            known: 0,
            known_at: 0,
        }
    }

    /// What has to be remembered.
    pub fn progress(&self) -> Progress {
        Progress {
            recorded: self.recorded,
            made: self.made,
            known: self.known,
            known_at: self.known_at,
            memory: self.state.clone(),
            evaluated: self.evaluated.clone(),
        }
    }

    /// Goes on from there. Everything is written again before the next step.
    pub fn resume(&mut self, progress: &Progress) {
        let Progress { recorded, made, known, known_at, memory, evaluated } = progress.clone();
        (self.recorded, self.made, self.known, self.known_at) = (recorded, made, known, known_at);
        (self.next_state, self.state, self.evaluated) = (memory.clone(), memory, evaluated);
        (self.record, self.refused) = (Record::default(), true);
    }

    /// Steps recorded.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// All groups' rows of what is set, of the last recorded step.
    pub fn set_rows(&self) -> &[u32] {
        &self.set
    }

    /// All groups' counted rows, the last that were made.
    pub fn counted_rows(&self) -> &[u32] {
        &self.counted
    }

    /// The record of the last recorded step.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Places for rows.
    pub fn places(&self) -> Places {
        self.places
    }

    /// A step was recorded with what the last tick made.
    pub fn count(&mut self) {
        self.recorded += 1;
    }

    /// The last step that was counted was not recorded after all.
    pub fn uncount(&mut self) {
        self.recorded -= 1;
        // Its rows may not have reached the device.
        self.refused = true;
    }

    /// Makes the host scalars of the next step, in f64, rounded once. What is set is looked at only of groups that were
    /// `changed`: it does not depend on the step.
    ///
    /// # Errors
    /// A group and its refusal, where `f32` does not hold one of them. The step does not count then.
    pub fn tick<C: Config>(
        &mut self,
        groups: &[C],
        changed: &[bool],
        wrappers: &Wrappers,
    ) -> Result<Tick, (usize, Refusal)> {
        let makes = self.made < self.largest_count();
        let t = if makes { self.made + 1 } else { self.made };
        // Of what a refused step has changed in the rows nothing has reached the device.
        let mut set = self.recorded == 0 || self.refused;
        let all = set;
        self.refused = true;
        let converts = self.layout.evaluates.is_some();
        let mut trains = !converts;
        let mut values = [0f64; MAX_FIELDS];
        let [set_words, counted_words] =
            [self.layout.now_vec4, self.layout.counted_vec4].map(|vec4| vec4 as usize * 4);
        for (index, group) in groups.iter().enumerate() {
            let rule = group.rule();
            let looks = all || changed[index];
            if !looks && !makes {
                continue;
            }
            let mut state = self.state[index];
            let values = &mut values[..self.fields.len()];
            rule.host_scalars(t, &mut state, values);
            check_host_scalars(self.fields, values, t).map_err(|refusal| (index, refusal))?;
            let word = |field: usize| {
                let value = values[field];
                if self.fields[field].kind.is_flag() { value as u32 } else { (value as f32).to_bits() }
            };
            if looks {
                let row = &mut self.set[index * set_words..][..set_words];
                let mut put = |at: usize, word: u32| {
                    set |= row[at] != word;
                    row[at] = word;
                };
                self.now.iter().for_each(|(field, at)| put(*at, word(*field)));
                if let Some(at) = self.layout.ring {
                    put(at as usize, rule.ring_length());
                }
                if let Some(at) = self.layout.evaluates {
                    put(at as usize, rule.evaluates().into());
                }
            }
            if makes {
                let counted = &mut self.counted[index * counted_words..][..counted_words];
                self.by_count.iter().for_each(|(field, at)| counted[*at] = word(*field));
                self.next_state[index] = state;
            }
        }
        self.refused = false;
        if converts {
            for (evaluated, group) in self.evaluated.iter_mut().zip(groups) {
                let evaluates = group.rule().evaluates();
                trains |= !evaluates && !*evaluated;
                *evaluated = evaluates;
            }
        }
        let record = Record::new(wrappers, self.record.rows, trains);
        set |= record != self.record;
        if set {
            self.place = (self.place + 1) % self.places.set;
        }
        let rows = self.place * groups.len() * self.layout.now_vec4 as usize;
        self.record = Record { rows: rows as u32, ..record };
        let mut counted = None;
        if makes {
            counted = (counted_words > 0).then_some((self.made % self.places.counted as u64) as usize);
            self.made += 1;
            std::mem::swap(&mut self.state, &mut self.next_state);
        }
        Ok(Tick { place: self.place, set, counted })
    }

    /// The largest count for which the next step may need rows. Encoders that are submitted after ones which were
    /// recorded later are not in what is known: a part of the ring is made for them. Where steps may be skipped, the rows
    /// of the count that is known stay in the ring.
    fn largest_count(&self) -> u64 {
        let places = self.places.counted as u64;
        let late = if self.known_at > 0 { places / 4 } else { 0 };
        let largest = self.recorded + 1 - self.known_at + late;
        self.known + if self.skips { largest.min(places) } else { largest }
    }

    /// Where steps may be skipped: the steps recorded since the device's count was known, and for how many there is room,
    /// if the next one might need the place of rows that another one still needs.
    pub fn too_far_ahead(&self) -> Option<(u64, u64)> {
        let (recorded, places) = (self.recorded - self.known_at, self.places.counted as u64);
        let needed = self.skips && self.layout.counted_vec4 > 0;
        (needed && recorded >= places).then_some((recorded, places))
    }

    /// Whether it is time to read the device's count.
    pub fn wants_count(&self) -> bool {
        // Early where steps may be skipped, so that the answer comes before the ring is full; else seldom, since only
        // steps that are never submitted make the two counts differ.
        let quarters = if self.skips { 1 } else { 3 };
        let often = (self.places.counted as u64 * quarters / 4).max(1);
        self.layout.counted_vec4 > 0 && self.recorded - self.known_at >= often
    }

    /// Learns that the device had taken `count` steps when it came to the one that was recorded as number `recorded`,
    /// counted from 0.
    pub fn observe(&mut self, recorded: u64, count: u64) {
        (self.known, self.known_at) = (count, recorded);
    }
}

/// The fields whose place is one of a kind, each with its word.
fn words(layout: &RowLayout, of_kind: fn(FieldPlace) -> Option<u32>) -> Vec<(usize, usize)> {
    let fields = layout.fields.iter().enumerate();
    fields.filter_map(|(field, (_, place))| Some((field, of_kind(*place)? as usize))).collect()
}

/// All groups' counted rows of the first step.
///
/// # Errors
/// [`Error::Config`] where `f32` does not hold one of its host scalars.
pub(crate) fn first_counted<C: Config>(
    layout: &RowLayout,
    groups: &[C],
    labels: &[String],
) -> Result<Vec<u32>, Error> {
    let Some(first) = groups.first() else { return Ok(vec![]) };
    let places = Places { set: 1, counted: 1 };
    let mut rows = HostRows::new(first.rule().spec().fields, layout.clone(), groups.len(), places, false);
    rows.tick(groups, &vec![true; groups.len()], &Wrappers::default())
        .map_err(|(group, refusal)| Error::Config { group: labels[group].clone(), refusal })?;
    Ok(rows.counted)
}
