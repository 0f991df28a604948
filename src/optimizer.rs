//! The dispatcher: rows of host scalars up, the same few dispatches every step, nothing back.

use crate::any_rule::Config;
use crate::build::{Builder, Built, Dispatch, ROWS_AT};
use crate::error::Error;
use crate::layout::{SlotLayout, row_fields, row_quads};
use crate::limits::{largest_binding, need, slot_layout};
use crate::params::{GroupId, ParamSet};
use crate::plan::{Bounds, ELEMENT, Piece, plan, small_for, tile_for};
use crate::rule::{Field, FieldKind, MAX_CARRIED, MAX_FIELDS, MAX_SLOTS, Memory, Method, starts_alike};
use crate::wrappers::{EXTRA_FIELDS, Wrappers};
use wgpu::{BufferUsages, CommandEncoder, ComputePass};

mod readings;

/// A word of the scratch buffer, the place of the newest row; see `shaders/scratch.wgsl`.
const NEWEST: u64 = 10;

/// What an optimizer may be told beside its groups' configurations.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Label of the pass and of every buffer, seen in captures. Default `"wgpu-optim: <rule>"`.
    pub label: Option<String>,
    /// Elements of a tile: a power of two from 256. By default chosen from the total and the
    /// adapter; results do not depend on it.
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
    groups: Vec<C>,
    labels: Vec<String>,
    label: String,
    /// Groups changed since they were last checked.
    unchecked: Vec<bool>,
    memory: Vec<Memory>,
    step: u64,
    /// The rows of all groups, as the table has them.
    rows: Vec<u32>,
    row_words: usize,
    row_fields: Vec<Field>,
    /// Steps whose rows the tables have room for.
    places: usize,
    wrappers: Wrappers,
    /// What the carried fields started with.
    carried: [f64; MAX_CARRIED],
    layout: SlotLayout,
    built: Built,
    pieces: Vec<Vec<Piece>>,
    shapes: Vec<Vec<usize>>,
}

/// A step whose host scalars are recorded; it takes effect when it is encoded into a pass.
#[derive(Debug)]
#[must_use = "a prepared step does nothing until it is encoded into a compute pass"]
pub struct PreparedStep<'a> {
    dispatches: &'a [Dispatch],
    label: &'a str,
}

impl PreparedStep<'_> {
    /// Records the dispatches into the caller's pass, which must belong to the encoder that the step was
    /// prepared in, or to one submitted after it. Leaves pipeline and bind group 0 of the pass changed.
    pub fn encode(self, pass: &mut ComputePass<'_>) {
        pass.push_debug_group(self.label);
        for dispatch in self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(dispatch.grid.0, dispatch.grid.1, 1);
        }
        pass.pop_debug_group();
    }
}

impl<C: Config> Optimizer<C> {
    /// An optimizer for the groups of `params`, in the order in which they were declared. All state
    /// is allocated and every pipeline built here.
    ///
    /// # Errors
    /// [`Error::GroupCount`], [`Error::Config`], [`Error::MixedRules`], [`Error::Limit`] where the device
    /// is too small, [`Error::Shader`] for a rule that does not compile, [`Error::OutOfMemory`].
    pub fn new(
        device: &wgpu::Device,
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
    ) -> Result<Self, Error> {
        Self::with_options(device, params, groups, &Options::default())
    }

    /// As [`new`](Optimizer::new), with [`Options`].
    ///
    /// # Errors
    /// As [`new`](Optimizer::new).
    pub fn with_options(
        device: &wgpu::Device,
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
        options: &Options,
    ) -> Result<Self, Error> {
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
            other.validate().map_err(refused)?;
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
        let row_words = 4 * row_quads(method, &layout);
        let row_fields = row_fields(method, &layout);
        let row_bytes = (groups.len() * row_words * 4) as u64;
        let places = places(&options.wrappers, row_bytes, plan.windows.len(), binding);
        let builder = Builder {
            device,
            params,
            method,
            wgsl,
            layout: &layout,
            label: &label,
            groups: &groups,
            row_words,
            places,
        };
        let built = builder.build(&plan, &limits)?;

        Ok(Self {
            device: device.clone(),
            unchecked: vec![false; groups.len()],
            memory: vec![Memory::default(); groups.len()],
            step: 0,
            rows: vec![0; groups.len() * row_words],
            row_words,
            row_fields,
            places,
            wrappers: options.wrappers,
            carried,
            layout,
            built,
            pieces: plan.pieces,
            shapes: params.tensors.iter().map(|tensor| tensor.shape.clone()).collect(),
            groups,
            labels,
            label,
        })
    }

    /// Steps recorded, also those that the device skips: by [`step`](Optimizer::step) or [`prepare`](Optimizer::prepare).
    pub fn steps(&self) -> u64 {
        self.step
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
        let (index, count) = (group.index(), self.groups.len());
        self.groups.get(index).ok_or(Error::UnknownHandle { what: "group", index, count })
    }

    /// The configuration of a group, to change: it counts from the next step on, which checks it.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`].
    pub fn group_mut(&mut self, group: GroupId) -> Result<&mut C, Error> {
        let (index, count) = (group.index(), self.groups.len());
        if let Some(unchecked) = self.unchecked.get_mut(index) {
            *unchecked = true;
        }
        self.groups.get_mut(index).ok_or(Error::UnknownHandle { what: "group", index, count })
    }

    /// Records one step of every group into `encoder`: a small upload and one compute pass. Whatever
    /// the encoder recorded before (the backward pass) comes first. Any number of steps may be recorded
    /// before a submit.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::MissingSlot`] for a group changed since, [`Error::DeviceLost`]. Nothing
    /// was recorded then and the step does not count.
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

    /// Records one step's host scalars into `encoder`; the result is then encoded into a compute pass of
    /// the caller's.
    ///
    /// # Errors
    /// As [`step`](Optimizer::step).
    pub fn prepare(&mut self, encoder: &mut CommandEncoder) -> Result<PreparedStep<'_>, Error> {
        self.check_changed()?;
        // A staging buffer of its own for each step, and a copy in the encoder: what a queue would write
        // only takes effect at the next submit, and would be overwritten by a second step before it.
        let bytes = self.rows.len() as u64 * 4;
        let place = self.step % self.places as u64;
        if !self.built.windows.is_empty() {
            let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-optim: host scalars"),
                size: bytes + ELEMENT,
                usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            // A lost device hands out buffers that cannot be mapped.
            let mut view = staging
                .get_mapped_range_mut(..)
                .map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
            self.write_rows();
            view.slice(..bytes as usize).copy_from_slice(bytemuck::cast_slice(&self.rows));
            view.slice(bytes as usize..).copy_from_slice(&(place as f32).to_ne_bytes());
            drop(view);
            staging.unmap();
            for window in &self.built.windows {
                encoder.copy_buffer_to_buffer(&staging, 0, &window.table, ROWS_AT + place * bytes, bytes);
            }
            if let Some(scratch) = self.built.scratch.as_ref().filter(|_| self.wrappers.skips()) {
                encoder.copy_buffer_to_buffer(&staging, bytes, scratch, NEWEST * ELEMENT, ELEMENT);
            }
        } else {
            self.write_rows();
        }
        self.step += 1;
        Ok(PreparedStep { dispatches: &self.built.dispatches, label: &self.label })
    }

    /// Checks the groups changed since the last step.
    fn check_changed(&mut self) -> Result<(), Error> {
        for (index, group) in self.groups.iter().enumerate().filter(|(index, _)| self.unchecked[*index]) {
            let label = || self.labels[index].clone();
            let method = group.method();
            let refused = |refusal| Error::Config { group: label(), refusal };
            method.validate().map_err(refused)?;
            if !same_rule(method, self.groups[0].method()) {
                let (got, first) = (method.name().into(), self.groups[0].method().name().into());
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

    /// The rows of the next step: host scalars in f64, rounded once.
    fn write_rows(&mut self) {
        let t = self.step + 1;
        let extra_words = self.wrappers.row(t, 0);
        let has_extra = self.layout.needs_extra(self.groups[0].method());
        let mut values = [0f64; MAX_FIELDS + EXTRA_FIELDS.len()];
        let rows = self.rows.chunks_exact_mut(self.row_words.max(1));
        for ((group, memory), row) in self.groups.iter().zip(&mut self.memory).zip(rows) {
            let method = group.method();
            let own = method.fields().len();
            method.host_row(t, memory, &mut values[..own]);
            if has_extra {
                values[own..own + EXTRA_FIELDS.len()].copy_from_slice(&extra_words);
                values[own] = f64::from(ring_place(method, t));
            }
            for ((word, value), field) in row.iter_mut().zip(&values).zip(&self.row_fields) {
                *word = match field.kind {
                    FieldKind::Flag => *value as u32,
                    _ => (*value as f32).to_bits(),
                };
            }
        }
    }
}

/// Steps whose rows (`bytes` each, in every window's table) are kept for steps that are skipped: as many as
/// a few megabytes hold, or a part of a `binding`. When more steps than that have been skipped, each further one
/// uses up its own row, so that host scalars then run ahead of the steps taken.
fn places(wrappers: &Wrappers, bytes: u64, windows: usize, binding: u64) -> usize {
    const BYTES: u64 = 4 << 20;
    const FEWEST: u64 = 64;
    // Exact in f32.
    const MOST: u64 = 1 << 16;
    if !wrappers.skips() {
        return 1;
    }
    let wanted = (BYTES / (bytes * windows as u64).max(1)).max(FEWEST);
    wanted.min(binding / 4 / bytes.max(1)).clamp(1, MOST) as usize
}

/// Whether two groups can share a dispatch. Most share the very text, which then needs no comparison.
fn same_rule(a: &dyn Method, b: &dyn Method) -> bool {
    a.name() == b.name() && (std::ptr::eq(a.wgsl(), b.wgsl()) || a.wgsl() == b.wgsl())
}

/// Where in its ring a rule reads and writes at step `t`; 0 without a ring.
pub(crate) fn ring_place(method: &dyn Method, t: u64) -> u32 {
    let mut depths = [0; MAX_SLOTS];
    let depths = &mut depths[..method.slots().len()];
    method.keeps(depths);
    let depth = depths.iter().copied().max().unwrap_or(0).max(1);
    ((t - 1) % u64::from(depth)) as u32
}
