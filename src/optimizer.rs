//! The dispatcher: rows of host scalars up, the same few dispatches every step, nothing back that anybody waits for.

use crate::any_rule::Config;
use crate::build::{Builder, Built, Dispatch, RECORD, ROWS_AT};
use crate::clock::{Clock, Places};
use crate::count::CountReader;
use crate::error::Error;
use crate::layout::{Rows, SlotLayout};
use crate::limits::{largest_binding, need, slot_layout};
use crate::params::{GroupId, ParamSet};
use crate::plan::{Bounds, ELEMENT, Piece, plan, small_for, tile_for};
use crate::rule::{MAX_CARRIED, MAX_SLOTS, Method, starts_alike};
use crate::scope::Watch;
use crate::wrappers::Wrappers;
use wgpu::{CommandEncoder, ComputePass};

mod readings;

/// What an optimizer may be told beside its groups' configurations.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Label of the pass and of every buffer, seen in captures. Default `"wgpu-optim: <rule>"`.
    pub label: Option<String>,
    /// Elements of a tile: a power of two from 256. By default chosen from the total and the
    /// adapter. Results do not depend on it, but for the last bits of rules with norms, sums or lines.
    pub tile: Option<u32>,
    /// Use at most this many storage buffers for slots, as on a device with few bindings. Results do
    /// not depend on it.
    pub state_buffers: Option<usize>,
    /// WGSL to run in the place of the rule's own: for experiments, and for negative controls, which
    /// run a rule's [`MUTANTS`](crate::Rule::MUTANTS).
    pub wgsl: Option<String>,
    /// What stands around the rule: clipping, skipping, Lookahead, an average of the weights, …
    pub wrappers: Wrappers,
}

/// An optimizer of one rule over all groups of a [`ParamSet`]: one dispatch a step (and window).
///
/// `C` is a rule's configuration ([`Adam`](crate::optimizers::Adam), …) or
/// [`AnyRule`](crate::AnyRule); there is one value for each group.
#[derive(Debug)]
pub struct Optimizer<C> {
    device: wgpu::Device,
    queue: wgpu::Queue,
    groups: Vec<C>,
    /// The first group as the optimizer was made: its rule is the one of the shaders, whatever stands in `groups`.
    rule: C,
    labels: Vec<String>,
    label: String,
    /// Groups changed since they were last checked.
    unchecked: Vec<bool>,
    clock: Clock,
    counts: Option<CountReader>,
    /// The wrappers that the shaders were made for, whose numbers may change.
    made_with: Wrappers,
    wrappers: Wrappers,
    /// What the carried fields started with.
    carried: [f64; MAX_CARRIED],
    layout: SlotLayout,
    built: Built,
    pieces: Vec<Vec<Piece>>,
    shapes: Vec<Vec<usize>>,
    /// The parameter set whose handles are known.
    set: u64,
    watch: Watch,
}

/// A step whose host scalars are recorded; it takes effect when it is encoded into a pass.
#[derive(Debug)]
#[must_use = "a prepared step does nothing until it is encoded into a compute pass"]
pub struct PreparedStep<'a> {
    dispatches: &'a [Dispatch],
    /// Byte of the step's record.
    record: u32,
    label: &'a str,
}

impl PreparedStep<'_> {
    /// Records the dispatches into the caller's pass. Leaves pipeline and bind group 0 of the pass changed.
    pub fn encode(self, pass: &mut ComputePass<'_>) {
        pass.push_debug_group(self.label);
        for dispatch in self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[self.record]);
            pass.dispatch_workgroups(dispatch.grid.0, dispatch.grid.1, 1);
        }
        pass.pop_debug_group();
    }
}

impl<C: Config> Optimizer<C> {
    /// An optimizer for the groups of `params`, in the order in which they were declared. All state
    /// is allocated and every pipeline built here.
    ///
    /// `queue` is the device's own. Through it, each recorded step's host scalars are written, which takes effect at
    /// the next submit; nothing is submitted here or later.
    ///
    /// # Errors
    /// [`Error::GroupCount`], [`Error::Config`], [`Error::MixedRules`], [`Error::Limit`] where the device
    /// is too small, [`Error::Shader`] for a rule that does not compile, [`Error::OutOfMemory`], and
    /// [`Error::OtherDevice`] for parameters of another device. In a browser what WebGPU itself refuses reaches the host's
    /// uncaptured-error handler instead, since it answers later. wgpu does not say which device a queue or an encoder
    /// belongs to: one of another device is refused by wgpu's own validation, at its first use.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
    ) -> Result<Self, Error> {
        Self::with_options(device, queue, params, groups, &Options::default())
    }

    /// As [`new`](Optimizer::new), with [`Options`].
    ///
    /// # Errors
    /// As [`new`](Optimizer::new).
    pub fn with_options(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
        options: &Options,
    ) -> Result<Self, Error> {
        if params.device != *device {
            return Err(Error::OtherDevice { what: "parameters" });
        }
        let groups: Vec<C> = groups.into_iter().collect();
        let labels = params.groups.clone();
        let Some(first) = groups.first().filter(|_| groups.len() == labels.len()) else {
            return Err(Error::GroupCount { groups: labels.len(), configs: groups.len() });
        };
        let method = first.method();
        options
            .wrappers
            .validate()
            .map_err(|refusal| Error::Config { group: "every group".into(), refusal })?;
        let mut depths = vec![0u32; method.slots().len()];
        let carried = method.carried();
        for (group, label) in groups.iter().zip(&labels) {
            let other = group.method();
            if !same_rule(other, method) {
                let (got, first) = (other.name().into(), method.name().into());
                return Err(Error::MixedRules { group: label.clone(), got, first });
            }
            let refused = |refusal| Error::Config { group: label.clone(), refusal };
            other.validate().and_then(|()| other.foreseeable()).map_err(refused)?;
            starts_alike(other, &carried).map_err(refused)?;
            let mut needs = vec![0; depths.len()];
            other.keeps(&mut needs);
            depths.iter_mut().zip(needs).for_each(|(depth, needs)| *depth = needs.max(*depth));
        }
        depths.extend(options.wrappers.depths());

        let limits = device.limits();
        let measures = groups.iter().any(|group| group.method().measures());
        let mut layout = slot_layout(method, depths, options.wrappers, measures, &limits)?;
        if let Some(most) = options.state_buffers {
            layout.buffers = layout.buffers.min(most.max(1));
        }
        let scratch = layout.has_scratch(method);
        let software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let tile = match options.tile {
            Some(tile) => u64::from(tile.clamp(256, 1 << 20).next_power_of_two()),
            // The tree of a sum follows the tiles, so they must not depend on how much there is.
            None if scratch => 1 << 12,
            None => tile_for(params.elements(), software),
        };
        // The slots of a window and its table are buffers of their own.
        let (binding, binding_limit) = largest_binding(&limits);
        let bounds = Bounds {
            binding,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(ELEMENT),
            workgroups: limits.max_compute_workgroups_per_dimension,
            packed_slots: (0..layout.buffers).map(|buffer| layout.depth_of(buffer)).max().unwrap_or(1).into(),
            tile,
            small: small_for(software),
        };
        need(method, "bytes of a binding", bounds.smallest_binding(), binding_limit, binding)?;
        let blocks: Vec<_> = params.pairs.iter().map(|pair| pair.block.clone()).collect();
        // Where there are sums, tiles are cut from each tensor's start: their tree depends on the tensors alone.
        let plan = plan(&params.spans(), &blocks, params.tensors.len(), bounds, !scratch);

        let label = options.label.clone().unwrap_or_else(|| format!("wgpu-optim: {}", method.name()));
        let wgsl = options.wgsl.as_deref().unwrap_or(method.wgsl());
        let rows = Rows::new(method, &layout);
        let places = Places::new(&rows, groups.len(), plan.windows.len(), options.wrappers.skips(), binding);
        let clock = Clock::new(method, rows.clone(), groups.len(), places, options.wrappers.skips());
        let mut first = clock.clone();
        let refused = |(group, refusal): (usize, _)| Error::Config { group: labels[group].clone(), refusal };
        first.tick(&groups, &options.wrappers).map_err(refused)?;
        let builder = Builder {
            device,
            params,
            method,
            wgsl,
            layout: &layout,
            label: &label,
            groups: &groups,
            rows: &rows,
            places,
            first_counted: first.counted_rows(),
        };
        let built = builder.build(&plan, &limits)?;
        let counts = (rows.counted_quads() > 0).then(|| CountReader::new(device, &label));

        Ok(Self {
            device: device.clone(),
            queue: queue.clone(),
            unchecked: vec![false; groups.len()],
            clock,
            counts,
            made_with: options.wrappers,
            wrappers: options.wrappers,
            carried,
            layout,
            built,
            pieces: plan.pieces,
            shapes: params.tensors.iter().map(|tensor| tensor.shape.clone()).collect(),
            set: params.set,
            watch: Watch::new(device),
            rule: groups[0].clone(),
            groups,
            labels,
            label,
        })
    }

    /// Steps recorded by [`step`](Optimizer::step) or [`prepare`](Optimizer::prepare), also those that are never submitted
    /// or that the device skips. The device counts for itself those that it takes, which is what bias corrections and
    /// everything else follow that depends on a number of steps.
    pub fn steps(&self) -> u64 {
        self.clock.recorded()
    }

    /// How many steps may be recorded ahead of the last submit, at least, if each of them changes some setting. Beyond
    /// that, the host scalars of the oldest ones are overwritten before they are used. As many may be skipped, or never
    /// be submitted, before the device's count of steps is read again, for which the host polls the device, submits, or
    /// lets the page's event loop run; where steps may be skipped, more are [`Error::StepsAhead`].
    pub fn steps_ahead(&self) -> usize {
        let places = self.clock.places();
        if self.counts.is_some() { places.set.min(places.counted / 2) } else { places.set }
    }

    /// The numbers of what stands around the rule, to change: they count from the next step on, which checks them. What
    /// is off cannot be switched on, nor what is on off.
    pub fn wrappers_mut(&mut self) -> &mut Wrappers {
        &mut self.wrappers
    }

    /// Dispatches of one step, whatever the number of groups and tensors: one for each window, that is one
    /// for arenas that fit into a binding, and one for each further pair of buffers; 0 if there is nothing
    /// to update. A rule that averages rows and columns does so first, with one more for each window and two.
    /// Clipping by norm or skipping, a rule that measures, and a cautious optimizer measure first:
    /// one dispatch more for each window and one that combines, for each of the three. A rule that carries
    /// scalars from step to step needs one more for them.
    pub fn dispatches_per_step(&self) -> usize {
        self.built.dispatches.len()
    }

    /// The configuration of a group.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`].
    pub fn group(&self, group: GroupId) -> Result<&C, Error> {
        let index = self.index_of(group)?;
        Ok(&self.groups[index])
    }

    /// The configuration of a group, to change: it counts from the next step on, which checks it.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`].
    pub fn group_mut(&mut self, group: GroupId) -> Result<&mut C, Error> {
        let index = self.index_of(group)?;
        self.unchecked[index] = true;
        Ok(&mut self.groups[index])
    }

    fn index_of(&self, group: GroupId) -> Result<usize, Error> {
        let (index, count) = (group.index, self.groups.len());
        let known = group.set == self.set && index < count;
        if known { Ok(index) } else { Err(Error::UnknownHandle { what: "group", index, count }) }
    }

    /// Records one step of every group into `encoder`: one compute pass. Whatever the encoder recorded before (the
    /// backward pass) comes first. Several steps may be recorded before a submit, in one encoder or in some, and
    /// encoders may be submitted in another order or be dropped: every step uses the settings that it was recorded
    /// with, and the number of steps that were taken before it runs. See [`steps_ahead`](Optimizer::steps_ahead).
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::MissingSlot`] or [`Error::MixedRules`] for a group changed since,
    /// [`Error::StepsAhead`], [`Error::DeviceLost`]
    /// (in a browser from the turn of the event loop on in which it becomes known). Nothing was recorded then and the
    /// step does not count.
    pub fn step(&mut self, encoder: &mut CommandEncoder) -> Result<(), Error> {
        let prepared = self.prepare(encoder)?;
        if prepared.dispatches.is_empty() {
            return Ok(());
        }
        let label = Some(prepared.label);
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        prepared.encode(&mut pass);
        Ok(())
    }

    /// Writes one step's host scalars; the result is then encoded into a compute pass of the caller's. Now and then
    /// a copy of the device's count is recorded into `encoder`, which nobody waits for; with [`Error::StepsAhead`] it is
    /// all that is recorded.
    ///
    /// # Errors
    /// As [`step`](Optimizer::step).
    pub fn prepare(&mut self, encoder: &mut CommandEncoder) -> Result<PreparedStep<'_>, Error> {
        self.watch.check()?;
        self.check_changed()?;
        if let Some((step, word)) = self.counts.as_mut().and_then(CountReader::answer) {
            self.clock.observe(step, u64::from(word & !EVALUATES));
        }
        let wants_count = self.clock.wants_count();
        if let Some((recorded, limit)) = self.clock.too_far_ahead() {
            self.ask_for_count(encoder);
            return Err(Error::StepsAhead { recorded, limit });
        }
        let record = self.write_rows()?;
        if wants_count {
            self.ask_for_count(encoder);
        }
        self.clock.count();
        Ok(PreparedStep { dispatches: &self.built.dispatches, record, label: &self.label })
    }

    /// Has the device's count read where the next step begins.
    fn ask_for_count(&mut self, encoder: &mut CommandEncoder) {
        if let (Some(counts), Some(window)) = (&mut self.counts, self.built.windows.first()) {
            counts.ask(encoder, &window.table, window.counts_at, self.clock.recorded());
        }
    }

    /// Checks the groups and wrappers changed since the last step.
    fn check_changed(&mut self) -> Result<(), Error> {
        let refused = |refusal| Error::Config { group: "every group".into(), refusal };
        self.wrappers.only_numbers_changed(&self.made_with).map_err(refused)?;
        self.wrappers.validate().map_err(refused)?;
        for (index, group) in self.groups.iter().enumerate().filter(|(index, _)| self.unchecked[*index]) {
            let label = || self.labels[index].clone();
            let method = group.method();
            let refused = |refusal| Error::Config { group: label(), refusal };
            method.validate().map_err(refused)?;
            if !same_rule(method, self.rule.method()) {
                let (got, first) = (method.name().into(), self.rule.method().name().into());
                return Err(Error::MixedRules { group: label(), got, first });
            }
            let mut needs = [0; MAX_SLOTS];
            let needs = &mut needs[..method.slots().len()];
            method.keeps(needs);
            if let Some(slot) = (0..needs.len()).find(|slot| needs[*slot] > self.layout.depths[*slot]) {
                return Err(Error::MissingSlot { group: label(), slot: method.slots()[slot].into() });
            }
            starts_alike(method, &self.carried).map_err(refused)?;
        }
        self.unchecked.fill(false);
        Ok(())
    }

    /// Makes the next step's host scalars and gives them to the queue: what the device does not have yet of them, and
    /// the step's record, whose byte is returned.
    fn write_rows(&mut self) -> Result<u32, Error> {
        let refused =
            |(group, refusal): (usize, _)| Error::Config { group: self.labels[group].clone(), refusal };
        let tick = self.clock.tick(&self.groups, &self.wrappers).map_err(refused)?;
        let record = tick.place as u64 * RECORD;
        for window in &self.built.windows {
            if tick.set {
                self.write(&window.table, ROWS_AT, tick.place, self.clock.set_rows())?;
            }
            if let Some(place) = tick.counted {
                self.write(&window.table, window.counted_at, place, self.clock.counted_rows())?;
            }
        }
        if !self.built.windows.is_empty() {
            let now: &[u32] = bytemuck::cast_slice(std::slice::from_ref(self.clock.now()));
            self.write(&self.built.now, record, 0, now)?;
        }
        Ok(record as u32)
    }

    /// Writes `words` at `place` of a ring that starts at byte `start`.
    fn write(&self, buffer: &wgpu::Buffer, start: u64, place: usize, words: &[u32]) -> Result<(), Error> {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let at = start + (place * bytes.len()) as u64;
        let Some(size) = wgpu::BufferSize::new(bytes.len() as u64) else { return Ok(()) };
        match self.queue.write_buffer_with(buffer, at, size) {
            Some(mut view) => {
                view.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(Error::DeviceLost { reason: "it takes no host scalars".into() }),
        }
    }
}

/// A bit of a tile's count, as in `shaders/frame.wgsl`.
const EVALUATES: u32 = 1 << 31;

/// Whether two groups can share a dispatch. Most share the very text, which then needs no comparison.
fn same_rule(a: &dyn Method, b: &dyn Method) -> bool {
    a.name() == b.name() && (std::ptr::eq(a.wgsl(), b.wgsl()) || a.wgsl() == b.wgsl())
}
