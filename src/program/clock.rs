//! The host's side of the steps: configurations that may change, and the bytes that each step needs written first.

use super::assemble::check_groups;
use super::host_rows::{HostRows, Tick};
use super::places::Places;
use super::progress::{Counts, Progress};
use super::{Program, Rows, VEC4};
use crate::error::Error;
use crate::rule::{Config, MAX_DEVICE_SCALARS, depths_of};
use crate::wrappers::Wrappers;

/// A bit of the device's counts, as in `shaders/core/tiles.wgsl`.
const EVALUATES: u32 = 1 << 31;

/// The groups' configurations, what stands around the rule, and the count of steps, for one [`Program`]: it checks what
/// was changed since the last step, and makes the host scalars of the next one, in `f64`, rounded once.
///
/// `C` is a rule's configuration or an [`AnyRule`](crate::AnyRule); there is one value for each group.
#[derive(Debug, Clone)]
pub struct Clock<C> {
    groups: Vec<C>,
    /// The first group as the program was made: its rule is the one of the shaders, whatever stands in `groups`.
    rule: C,
    labels: Vec<String>,
    /// Groups changed since they were last checked.
    unchecked: Vec<bool>,
    /// The wrappers that the shaders were made for, whose numbers may change.
    made_with: Wrappers,
    wrappers: Wrappers,
    /// What the device scalars started with.
    device_scalars: [f64; MAX_DEVICE_SCALARS],
    /// Values kept of each slot of the rule.
    depths: Vec<u32>,
    rows: Rows,
    host: HostRows,
}

/// Bytes to write before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// Index of the buffer among [`Program::buffers`].
    pub buffer: u32,
    /// First byte.
    pub offset: u64,
    /// The bytes, a multiple of 4.
    pub bytes: &'a [u8],
}

/// What a recorded step needs: the bytes to write, and the dynamic offset of its record.
#[derive(Debug)]
pub struct NextStep<'a> {
    rows: &'a Rows,
    host: &'a mut HostRows,
    tick: Tick,
}

impl<C: Config> Clock<C> {
    /// For a program and the configurations that it was made for.
    ///
    /// # Errors
    /// [`Error::Program`] for a program of another rule or other wrappers, and as [`Program::new`] for configurations.
    pub fn new(
        program: &Program,
        groups: impl IntoIterator<Item = C>,
        wrappers: Wrappers,
    ) -> Result<Self, Error> {
        let groups: Vec<C> = groups.into_iter().collect();
        check_groups(&program.groups, &groups, &wrappers)?;
        let rule = groups[0].clone();
        let spec = rule.rule().spec();
        let refused = |reason| Err(Error::Program { reason });
        let fields = program.rows.layout.fields.iter().map(|(name, _)| name.as_str());
        if program.optimizer != spec.name || !fields.eq(spec.fields.iter().map(|field| field.name)) {
            return refused(format!("it is one of '{}', not of this '{}'", program.optimizer, spec.name));
        }
        if program.wrappers != wrappers.names() {
            let (made, got) = (program.wrappers.join(", "), wrappers.names().join(", "));
            return refused(format!("it was made with the wrappers [{made}], not [{got}]"));
        }
        let (rows, skips) = (program.rows.clone(), program.rows.skips);
        let places = Places { set: rows.set.places as usize, counted: rows.counted.places as usize };
        let owners = rows.owners.iter().map(|owner| owner.group as usize).collect::<Vec<_>>();
        let owners = rows.layout.rests.map(|_| owners);
        let host =
            HostRows::new(spec.fields, rows.layout.clone(), groups.len(), owners, places, skips, rows.ends);
        Ok(Self {
            unchecked: vec![true; groups.len()],
            labels: program.groups.clone(),
            made_with: wrappers,
            wrappers,
            device_scalars: rule.rule().device_scalars(),
            depths: program.slots.iter().take(spec.slots.len()).map(|slot| slot.depth).collect(),
            rows,
            host,
            rule,
            groups,
        })
    }

    /// The configurations of the groups, in order.
    pub fn groups(&self) -> &[C] {
        &self.groups
    }

    /// The configuration of a group, to change: it counts from the next step on, which checks it.
    pub fn group_mut(&mut self, index: usize) -> Option<&mut C> {
        *self.unchecked.get_mut(index)? = true;
        self.groups.get_mut(index)
    }

    /// What stands around the rule.
    pub fn wrappers(&self) -> &Wrappers {
        &self.wrappers
    }

    /// The numbers of what stands around the rule, to change: they count from the next step on, which checks them. What
    /// is off cannot be switched on, nor what is on off.
    pub fn wrappers_mut(&mut self) -> &mut Wrappers {
        &mut self.wrappers
    }

    /// Steps recorded, also those that are never submitted or that the device skips.
    pub fn recorded(&self) -> u64 {
        self.host.recorded()
    }

    /// What the host has to remember of the run, beside the configurations.
    pub fn progress(&self) -> Progress {
        self.host.progress()
    }

    /// Starts again, with the configurations as they are: the device holds what it held before the first step.
    pub fn restart(&mut self) {
        self.host.restart();
        self.unchecked.fill(true);
    }

    /// Goes on from there: the device holds what it held then.
    ///
    /// # Errors
    /// [`Error::State`] for counts that cannot be, and for one of other groups.
    pub fn resume(&mut self, progress: &Progress) -> Result<(), Error> {
        let Progress { recorded, made, known, known_at, memory, tensors, .. } = progress;
        let refused = |reason: String| Err(Error::State { reason });
        if !self.host.is_like(progress) {
            let (saved, own) = (memory.len(), self.progress().memory.len());
            return refused(format!(
                "it is one of {saved} groups or tensors that count steps, not of these {own}"
            ));
        }
        let shared = Counts { acted: *recorded, made: *made, known: *known, known_at: *known_at };
        let wrong = |counts: &&Counts| {
            counts.made > counts.acted || counts.known_at > counts.acted || counts.known > counts.known_at
        };
        if let Some(Counts { acted, made, known, known_at }) = tensors.iter().chain([&shared]).find(wrong) {
            return refused(format!(
                "no run has recorded {acted} steps, made host scalars for {made} and known {known} taken at {known_at}"
            ));
        }
        let most = tensors.iter().map(|counts| counts.acted).max().unwrap_or(0).max(*recorded);
        if most > *recorded || most >= u64::from(EVALUATES) {
            return refused(format!("no run of {recorded} steps has taken {most}"));
        }
        if memory.iter().flatten().any(|number| !number.is_finite()) {
            return refused("what a rule remembers is not finite".into());
        }
        self.host.resume(progress);
        self.unchecked.fill(true);
        Ok(())
    }

    /// How many steps may be recorded ahead of the last submit, at least, if each of them changes some setting.
    pub fn steps_ahead(&self) -> usize {
        let Places { set, counted } = self.host.places();
        if self.rows.count.is_some() { set.min(counted / 2) } else { set }
    }

    /// Whether it is time to read [`Rows::counts`] where the next step begins: counts of the steps that the device has taken,
    /// to be given to [`observe`](Clock::observe) together with [`recorded`](Clock::recorded) at this point, whenever they
    /// are known. Nobody needs to wait for them.
    pub fn wants_count(&self) -> bool {
        self.rows.count.is_some() && self.host.wants_count()
    }

    /// Learns the words of [`Rows::counts`] as they were where step number `recorded` began.
    pub fn observe(&mut self, recorded: u64, words: &[u32]) {
        let mut words = words.iter().map(|word| u64::from(word & !EVALUATES));
        if self.rows.owners.is_empty() {
            self.host.observe(recorded, words);
            return;
        }
        // A tensor without elements has no count.
        let counts =
            self.rows.owners.iter().map(|owner| if owner.counts.is_empty() { Some(0) } else { words.next() });
        self.host.observe(recorded, counts.map_while(|count| count));
    }

    /// Leaves a tensor out of the next step, as PyTorch does with a parameter whose gradient is None: it is not decayed, nor
    /// moved by its momentum, its gradient counts for no norm, and the step is none of its own. A step that converts weights,
    /// for evaluation or back, leaves nobody out; the one after it does then.
    ///
    /// # Errors
    /// [`Error::WithoutOption`] without [`Options::own_steps`](super::Options::own_steps), [`Error::UnknownHandle`].
    pub fn skip(&mut self, tensor: usize) -> Result<(), Error> {
        self.own_steps("skip", tensor, |host| host.skip(tensor))
    }

    /// A tensor has taken no step. Its slots and counts on the device are to be what they were before the first step, and
    /// counts that were asked for and not yet observed are to be forgotten.
    ///
    /// # Errors
    /// As [`skip`](Clock::skip).
    pub fn start_anew(&mut self, tensor: usize) -> Result<(), Error> {
        self.own_steps("start_anew", tensor, |host| host.start_anew(tensor))
    }

    fn own_steps(
        &mut self,
        what: &'static str,
        tensor: usize,
        act: impl FnOnce(&mut HostRows) -> Option<()>,
    ) -> Result<(), Error> {
        if self.rows.layout.rests.is_none() {
            return Err(Error::WithoutOption { what, option: "own_steps" });
        }
        let unknown = Error::UnknownHandle { what: "tensor", index: tensor, count: self.rows.owners.len() };
        act(&mut self.host).ok_or(unknown)
    }

    /// Makes the next step's host scalars; the step counts as recorded.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::MissingSlot`] or [`Error::MixedRules`] for a group changed since, and
    /// [`Error::StepsAhead`]. The step does not count then.
    pub fn next_step(&mut self) -> Result<NextStep<'_>, Error> {
        self.check_changed()?;
        if let Some((recorded, limit)) = self.host.too_far_ahead() {
            return Err(Error::StepsAhead { recorded, limit });
        }
        let refused =
            |(group, refusal): (usize, _)| Error::Config { group: self.labels[group].clone(), refusal };
        let tick = self.host.tick(&self.groups, &self.unchecked, &self.wrappers).map_err(refused)?;
        self.unchecked.fill(false);
        self.host.count();
        Ok(NextStep { rows: &self.rows, host: &mut self.host, tick })
    }

    /// Checks the groups and wrappers changed since the last step.
    fn check_changed(&self) -> Result<(), Error> {
        let refused = |refusal| Error::Config { group: "every group".into(), refusal };
        self.wrappers.only_numbers_changed(&self.made_with).map_err(refused)?;
        self.wrappers.validate().map_err(refused)?;
        let changed = self.groups.iter().zip(&self.labels).zip(&self.unchecked);
        for ((group, label), _) in changed.filter(|(_, unchecked)| **unchecked) {
            let (rule, made) = (group.rule(), self.rule.rule());
            let refused = |refusal| Error::Config { group: label.clone(), refusal };
            rule.validate().map_err(refused)?;
            if !rule.is_same_rule(made) {
                let (got, first) = (rule.spec().name.into(), made.spec().name.into());
                return Err(Error::MixedRules { group: label.clone(), got, first });
            }
            let needs = depths_of(rule);
            if let Some(slot) = self.depths.iter().zip(needs).position(|(kept, needs)| needs > *kept) {
                let slot = rule.spec().slots[slot].name.into();
                return Err(Error::MissingSlot { group: label.clone(), slot });
            }
            rule.starts_alike(&self.device_scalars).map_err(refused)?;
        }
        Ok(())
    }
}

impl NextStep<'_> {
    /// The dynamic offset of the step's record, for every bind group of its passes.
    pub fn record(&self) -> u32 {
        (self.tick.place as u64 * self.rows.records.stride) as u32
    }

    /// Takes the step back where it could not be written or recorded: it does not count then.
    pub fn abandon(self) {
        self.host.uncount();
    }

    /// What to write before the step runs, through the queue: the places belong to no step in flight.
    pub fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        let (rows, host, tick) = (self.rows, &*self.host, self.tick);
        let set = tick.set.then_some((&rows.set, tick.place, 0, bytemuck::cast_slice(host.set_rows())));
        let row = u64::from(rows.layout.counted_vec4) * VEC4;
        let counted = host.counted_rows().map(move |(owner, place, words)| {
            (&rows.counted, place, owner as u64 * row, bytemuck::cast_slice(words))
        });
        let record = bytemuck::bytes_of(host.record());
        let all = set.into_iter().chain(counted).chain([(&rows.records, tick.place, 0, record)]);
        all.flat_map(|(ring, place, behind, bytes)| {
            ring.at.iter().map(move |(buffer, start)| Write {
                buffer: *buffer,
                offset: start + place as u64 * ring.stride + behind,
                bytes,
            })
        })
    }
}
