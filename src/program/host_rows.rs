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
//!
//! Groups own the rows, and share one count; or, if tensors count their own steps, each tensor owns some.

use super::places::Places;
use super::progress::{Counts, Progress};
use super::record::Record;
use super::rows::{FieldPlace, RowLayout};
use crate::error::{Error, Refusal};
use crate::rule::{Config, Field, HostState, MAX_FIELDS, check_host_scalars};
use crate::wrappers::Wrappers;

/// What a recorded step has to tell the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The place of the step's record, and of its rows of what is set.
    pub place: usize,
    /// Whether these rows are new.
    pub set: bool,
}

/// One who has rows: a group, or a tensor that counts its own steps.
#[derive(Debug, Clone)]
struct Owner {
    /// The group of its configuration.
    group: usize,
    state: HostState,
    /// What `state` becomes once the step is recorded.
    next_state: HostState,
    /// Whether it is left out of the next step.
    skipped: bool,
    /// Whether it was not left out of the last one.
    acts: bool,
    counts: Counts,
    /// The place of the counted row that the step made.
    made_at: Option<usize>,
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
    /// Whether rows for counts are kept for good, and made up to the last that there is a place for.
    ends: bool,
    /// Whether each owner is a tensor that counts its own steps.
    own_steps: bool,
    owners: Vec<Owner>,
    set: Vec<u32>,
    counted: Vec<u32>,
    /// Which groups' weights were wanted for evaluation in the step before.
    evaluated: Vec<bool>,
    record: Record,
    place: usize,
    /// Whether the last tick was refused.
    refused: bool,
    recorded: u64,
}

impl HostRows {
    /// For owners of these groups, which are the groups themselves or tensors that have `own_steps`. `skips` says whether
    /// steps may be skipped.
    pub fn new(
        fields: &'static [Field],
        layout: RowLayout,
        groups: usize,
        owners: Option<Vec<usize>>,
        places: Places,
        skips: bool,
        ends: bool,
    ) -> Self {
        let own_steps = owners.is_some();
        let owner = |group| Owner {
            group,
            state: HostState::default(),
            next_state: HostState::default(),
            skipped: false,
            acts: true,
            counts: Counts::default(),
            made_at: None,
        };
        let owners: Vec<Owner> =
            owners.unwrap_or_else(|| (0..groups).collect()).into_iter().map(owner).collect();
        Self {
            skips,
            ends,
            fields,
            now: words(&layout, |place| if let FieldPlace::Now(at) = place { Some(at) } else { None }),
            by_count: words(
                &layout,
                |place| if let FieldPlace::Counted(at) = place { Some(at) } else { None },
            ),
            set: vec![0; owners.len() * layout.now_vec4 as usize * 4],
            counted: vec![0; owners.len() * layout.counted_vec4 as usize * 4],
            evaluated: vec![false; groups],
            own_steps,
            owners,
            layout,
            places,
            record: Record::default(),
            place: places.set - 1,
            refused: false,
            recorded: 0,
        }
    }

    /// What has to be remembered.
    pub fn progress(&self) -> Progress {
        let largest = |count: fn(&Counts) -> u64| {
            self.owners.iter().map(|owner| count(&owner.counts)).max().unwrap_or(0)
        };
        let all = self.owners.iter();
        Progress {
            recorded: self.recorded,
            made: largest(|counts| counts.made),
            known: largest(|counts| counts.known),
            known_at: largest(|counts| counts.known_at),
            memory: all.clone().map(|owner| owner.state).collect(),
            evaluated: self.evaluated.clone(),
            tensors: all.filter(|_| self.own_steps).map(|owner| owner.counts).collect(),
        }
    }

    /// Whether a run that is remembered so has as many groups and tensors as this one.
    pub fn is_like(&self, progress: &Progress) -> bool {
        let tensors = if self.own_steps { self.owners.len() } else { 0 };
        progress.memory.len() == self.owners.len()
            && progress.evaluated.len() == self.evaluated.len()
            && progress.tensors.len() == tensors
    }

    /// Goes on from there. Everything is written again before the next step.
    pub fn resume(&mut self, progress: &Progress) {
        let Progress { recorded, made, known, known_at, .. } = *progress;
        self.recorded = recorded;
        let shared = Counts { acted: recorded, made, known, known_at };
        for (index, owner) in self.owners.iter_mut().enumerate() {
            owner.counts = progress.tensors.get(index).copied().unwrap_or(shared);
            owner.state = progress.memory[index];
            (owner.next_state, owner.skipped, owner.made_at) = (owner.state, false, None);
        }
        self.evaluated.clone_from(&progress.evaluated);
        (self.record, self.refused) = (Record::default(), true);
    }

    /// Starts again: the device holds what it held before the first step.
    pub fn restart(&mut self) {
        self.resume(&Progress {
            recorded: 0,
            made: 0,
            known: 0,
            known_at: 0,
            memory: vec![HostState::default(); self.owners.len()],
            evaluated: vec![false; self.evaluated.len()],
            tensors: vec![],
        });
    }

    /// Leaves a tensor out of the next step. None if tensors do not count their own steps.
    pub fn skip(&mut self, tensor: usize) -> Option<()> {
        self.owners.get_mut(tensor).filter(|_| self.own_steps)?.skipped = true;
        Some(())
    }

    /// A tensor has taken no step, for the device too. None if tensors do not count their own steps.
    pub fn start_anew(&mut self, tensor: usize) -> Option<()> {
        let owner = self.owners.get_mut(tensor).filter(|_| self.own_steps)?;
        (owner.state, owner.next_state) = Default::default();
        owner.counts = Counts { made: 0, known: 0, known_at: owner.counts.acted, ..owner.counts };
        Some(())
    }

    /// Steps recorded.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// All owners' rows of what is set, of the last recorded step.
    pub fn set_rows(&self) -> &[u32] {
        &self.set
    }

    /// The counted rows that the last recorded step made, of runs of owners: the first of them, their place, their rows.
    pub fn counted_rows(&self) -> impl Iterator<Item = (usize, usize, &[u32])> {
        let words = self.layout.counted_vec4 as usize * 4;
        let mut first = 0;
        self.owners.chunk_by(|a, b| a.made_at == b.made_at).filter_map(move |run| {
            let owner = first;
            first += run.len();
            let place = run[0].made_at.filter(|_| words > 0)?;
            Some((owner, place, &self.counted[owner * words..first * words]))
        })
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
        for owner in &mut self.owners {
            owner.counts.acted -= u64::from(owner.acts);
            owner.skipped |= !owner.acts;
        }
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
        // Of what a refused step has changed in the rows nothing has reached the device.
        let mut set = self.recorded == 0 || self.refused;
        let all = set;
        self.refused = true;
        let converts = self.layout.evaluates.is_some();
        let mut trains = !converts;
        let mut values = [0f64; MAX_FIELDS];
        let [set_words, counted_words] =
            [self.layout.now_vec4, self.layout.counted_vec4].map(|vec4| vec4 as usize * 4);
        let (places, stays) = (self.places.counted as u64, self.skips || self.ends);
        for (index, owner) in self.owners.iter_mut().enumerate() {
            let rule = groups[owner.group].rule();
            // A step that converts weights leaves nobody out.
            let converted = converts && (rule.evaluates() || self.evaluated[owner.group]);
            owner.acts = !owner.skipped || converted;
            let makes = owner.acts && owner.counts.made < owner.counts.largest(places, stays);
            owner.made_at = None;
            if let Some(at) = self.layout.rests {
                let word = &mut self.set[index * set_words + at as usize];
                set |= *word != u32::from(!owner.acts);
                *word = (!owner.acts).into();
            }
            let looks = all || changed[owner.group];
            if !looks && !makes {
                continue;
            }
            let t = if makes { owner.counts.made + 1 } else { owner.counts.made.max(1) };
            let mut state = owner.state;
            let values = &mut values[..self.fields.len()];
            rule.host_scalars(t, &mut state, values);
            check_host_scalars(self.fields, values, t).map_err(|refusal| (owner.group, refusal))?;
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
                owner.next_state = state;
                owner.made_at = Some((owner.counts.made % places) as usize);
            }
        }
        self.refused = false;
        for owner in &mut self.owners {
            owner.counts.acted += u64::from(owner.acts);
            owner.skipped &= owner.acts;
            if owner.made_at.is_some() {
                owner.counts.made += 1;
                owner.state = owner.next_state;
            }
        }
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
        let rows = self.place * self.owners.len() * self.layout.now_vec4 as usize;
        self.record = Record { rows: rows as u32, ..record };
        Ok(Tick { place: self.place, set })
    }

    /// Where steps may be skipped: the steps recorded since the device's count was known, and for how many there is room,
    /// if the next one might need the place of rows that another one still needs.
    pub fn too_far_ahead(&self) -> Option<(u64, u64)> {
        let (ahead, places) = (self.ahead(), self.places.counted as u64);
        let needed = self.skips && !self.ends && self.layout.counted_vec4 > 0;
        (needed && ahead >= places).then_some((ahead, places))
    }

    /// Steps recorded since the device's count was known, of the owner who took most.
    fn ahead(&self) -> u64 {
        self.owners.iter().map(|owner| owner.counts.acted - owner.counts.known_at).max().unwrap_or(0)
    }

    /// Whether it is time to read the device's count.
    pub fn wants_count(&self) -> bool {
        // Early where steps may be skipped, so that the answer comes before the ring is full; else seldom, since only
        // steps that are never submitted make the two counts differ.
        let quarters = if self.skips { 1 } else { 3 };
        let often = (self.places.counted as u64 * quarters / 4).max(1);
        self.layout.counted_vec4 > 0 && self.ahead() >= often
    }

    /// Learns the device's counts when it came to the step that was recorded as number `recorded`, counted from 0: one of all
    /// groups, or those of the tensors in order.
    pub fn observe(&mut self, recorded: u64, counts: impl IntoIterator<Item = u64>) {
        let since = self.recorded.saturating_sub(recorded);
        let mut counts = counts.into_iter();
        let mut count = counts.next();
        for owner in &mut self.owners {
            let Some(known) = count else { return };
            // At most so many of the steps since then were its own.
            owner.counts.known_at = owner.counts.acted.saturating_sub(since);
            owner.counts.known = known;
            if self.own_steps {
                count = counts.next();
            }
        }
    }
}

/// The fields whose place is one of a kind, each with its word.
fn words(layout: &RowLayout, of_kind: fn(FieldPlace) -> Option<u32>) -> Vec<(usize, usize)> {
    let fields = layout.fields.iter().enumerate();
    fields.filter_map(|(field, (_, place))| Some((field, of_kind(*place)? as usize))).collect()
}

/// All owners' counted rows of the first step; each has a group's configuration.
///
/// # Errors
/// [`Error::Config`] where `f32` does not hold one of its host scalars.
pub(crate) fn first_counted<C: Config>(
    layout: &RowLayout,
    groups: &[C],
    owners: &[usize],
    labels: &[String],
) -> Result<Vec<u32>, Error> {
    let Some(first) = groups.first() else { return Ok(vec![]) };
    let places = Places { set: 1, counted: 1 };
    let mut rows =
        HostRows::new(first.rule().spec().fields, layout.clone(), groups.len(), None, places, false, false);
    rows.tick(groups, &vec![true; groups.len()], &Wrappers::default())
        .map_err(|(group, refusal)| Error::Config { group: labels[group].clone(), refusal })?;
    let words = layout.counted_vec4 as usize * 4;
    Ok(owners.iter().flat_map(|group| rows.counted[group * words..][..words].iter().copied()).collect())
}
