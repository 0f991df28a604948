//! Assembles a program: from tensors, groups, options and limits to buffers, modules, bindings and passes.

use super::factored::Factored;
use super::host_rows::first_counted;
use super::limits::need;
use super::parts::{check_own, spans_of, tiles_in_order};
use super::places::Places;
use super::record::RECORD_STRIDE;
use super::row_masks::RowWords;
use super::step::{SCRATCH_HEADER, Step};
use super::windows::{self, Plan, Sizes, Window, plan};
use super::{
    Buffer, ELEMENT, Fill, Limits, Options, Owner, Part, Piece, Program, Reading, Ring, Rows, Shape, Slice,
    SlotPlace, TensorPlace, Tensors, Usage, VEC4, VERSION, WindowPlace,
};
use crate::error::{Error, Refusal};
use crate::rule::{Config, SlotKind};
use crate::wrappers::Wrappers;

/// Tiles of a program at most: a table of 2 GiB.
const MAX_TILES: u64 = 1 << 26;
/// Vec4 before the rows in a table.
pub(super) const HEADER: usize = 3;

impl Program {
    /// The program of an optimizer for the groups of `tensors`, in the order in which they were declared.
    ///
    /// # Errors
    /// [`Error::GroupCount`], [`Error::Config`], [`Error::MixedRules`], [`Error::Rule`] for a rule that asks for more than
    /// there is, [`Error::Limit`] where the device is too small.
    pub fn new<C: Config>(
        tensors: &Tensors,
        groups: &[C],
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, Error> {
        Self::assemble(tensors, None, groups, options, limits)
    }

    /// Of all tensors, or of a part of the `whole`.
    pub(super) fn assemble<C: Config>(
        tensors: &Tensors,
        whole: Option<&Tensors>,
        groups: &[C],
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, Error> {
        check_groups(tensors.groups(), groups, &options.wrappers)?;
        let rule = groups[0].rule();
        let mut step = Step::resolve(rule, groups, options, limits)?;
        let sums = step.has_scratch();
        let given = options.tile.map(|tile| u64::from(tile.clamp(256, 1 << 20).next_power_of_two()));
        let tile = given.unwrap_or_else(|| step.shape.tile(sums, whole.unwrap_or(tensors).elements()));
        // Of a long shape all tiles share workgroups.
        step.loops = step.shape == Shape::Long || tile > 4 * u64::from(step.shape.invocations());
        // The slots of a window and its table are buffers of their own.
        let (binding, binding_limit) = limits.largest_binding();
        let sizes = Sizes {
            binding,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(ELEMENT),
            workgroups: limits.max_compute_workgroups_per_dimension,
            packed_slots: (0..step.state_buffers)
                .map(|buffer| step.depth_of(buffer))
                .max()
                .unwrap_or(1)
                .into(),
            tile,
            shape: step.shape,
            sums,
        };
        need(step.spec.name, "bytes of a binding", sizes.smallest_binding(), binding_limit, binding)?;
        let workgroups = "max_compute_workgroups_per_dimension";
        need(step.spec.name, "workgroups", 1, workgroups, sizes.workgroups.into())?;
        // Each tile has a row of a table, which host memory holds too.
        let tiles = tensors.elements() / tile;
        need(
            step.spec.name,
            "tiles; ask for larger ones with `tile`",
            tiles,
            "limit in a program",
            MAX_TILES,
        )?;
        // Where there are sums, tiles are cut from each tensor's start: their tree depends on the tensors alone. Rows are
        // found from the tensor's start too.
        let merge = !sums && step.row_masks.is_none();
        let cut = |tensors: &Tensors| {
            let block = |pair: &super::tensors::Pair| windows::Block {
                param_size: tensors.buffers()[pair.param].size,
                grad_size: tensors.buffers()[pair.grad].size,
                padding: pair.padding,
                apart: pair.param == pair.grad && !limits.overlapping_bindings,
            };
            let blocks: Vec<_> = tensors.pairs().iter().map(block).collect();
            plan(&spans_of(tensors, options), &blocks, tensors.tensors().len(), sizes, merge)
        };
        let plan = cut(tensors);
        let whole = whole.map(|whole| tiles_in_order(&cut(whole), whole));
        if let Some(whole) = whole.as_ref().filter(|_| sums) {
            check_own(&tiles_in_order(&plan, tensors), whole)?;
        }
        step.packed = plan.packed as u32;
        step.writes_grads |= tensors.pairs().iter().any(|pair| pair.param == pair.grad);
        let (windows, skips) = (plan.windows.len(), step.wrappers.skips());
        let ahead = options.steps_ahead.unwrap_or(1);
        let owners: Vec<usize> = if options.own_steps {
            tensors.tensors().iter().map(|tensor| tensor.group).collect()
        } else {
            (0..groups.len()).collect()
        };
        if options.steps_ahead.is_some() {
            let words = step.rows.now_vec4 + 2 * step.rows.counted_vec4;
            let bytes = (owners.len() as u64 * u64::from(words) * VEC4).saturating_mul(ahead.into());
            need(step.spec.name, "host scalars of steps_ahead, in bytes", bytes, binding_limit, binding)?;
        }
        let places = Places::new(&step.rows, owners.len(), windows, skips, binding, ahead, step.rows_count());
        step.check_counts_end(groups, tensors.groups())?;
        let row_words = step.row_masks.map(|kind| RowWords::new(kind, tensors.tensors()));
        step.narrow = row_words.as_ref().is_some_and(RowWords::narrow);
        let first_counted = first_counted(&step.rows, groups, &owners, tensors.groups())?;
        let factored = step.spec.is_factored().then(|| {
            let shapes = tensors.tensors().iter().map(|tensor| (&tensor.shape[..], tensor.group));
            Factored::new(&shapes.collect::<Vec<_>>(), &plan)
        });
        let factored = factored.filter(|factored| factored.elements > 0);
        let none = Factored::default();
        let lines = factored.as_ref().unwrap_or(&none);
        (step.apart, step.mixed, step.vectors) = (lines.apart, lines.mixed, lines.vectors);
        (step.cut, step.turns) = (lines.cut, lines.turns);
        let label = options.label.clone().unwrap_or_else(|| format!("wgpu-optim: {}", step.spec.name));
        let assembly = Assembly {
            step,
            tensors,
            groups,
            owners,
            plan,
            places,
            first_counted,
            factored,
            row_words,
            whole,
            label,
            limits,
        };
        assembly.check_sizes()?;
        Ok(assembly.program().sealed())
    }
}

/// Refuses groups that do not fit the tensors or one another, and whatever is out of range.
pub(super) fn check_groups<C: Config>(
    labels: &[String],
    groups: &[C],
    wrappers: &Wrappers,
) -> Result<(), Error> {
    let Some(first) = groups.first().filter(|_| groups.len() == labels.len()) else {
        return Err(Error::GroupCount { groups: labels.len(), configs: groups.len() });
    };
    let everyone = |refusal| Error::Config { group: "every group".into(), refusal };
    wrappers.validate().map_err(everyone)?;
    let first = first.rule();
    let device_scalars = first.device_scalars();
    for (group, label) in groups.iter().zip(labels) {
        let rule = group.rule();
        if !rule.is_same_rule(first) {
            let (got, first) = (rule.spec().name.into(), first.spec().name.into());
            return Err(Error::MixedRules { group: label.clone(), got, first });
        }
        let refused = |refusal: Refusal| Error::Config { group: label.clone(), refusal };
        rule.validate().and_then(|()| rule.foreseeable()).map_err(refused)?;
        rule.starts_alike(&device_scalars).map_err(refused)?;
    }
    Ok(())
}

/// All that a program is assembled from.
pub(super) struct Assembly<'a, C> {
    pub step: Step<'a>,
    pub tensors: &'a Tensors,
    pub groups: &'a [C],
    /// Of everyone who has rows the group: of the groups themselves, or of tensors that count their own steps.
    pub owners: Vec<usize>,
    pub plan: Plan,
    pub places: Places,
    /// All owners' counted rows of the first step.
    pub first_counted: Vec<u32>,
    pub factored: Option<Factored>,
    /// Masks and counts of rows that may rest.
    pub row_words: Option<RowWords>,
    /// Of a part, the tiles of each tensor of the whole model.
    pub whole: Option<Vec<(String, u32)>>,
    pub label: String,
    pub limits: &'a Limits,
}

/// Where the parts of a window's table start, in vec4.
pub(super) struct TableParts {
    pub counted: usize,
    pub counts: usize,
    pub tiles: usize,
    /// Where the tiles end, and what is about rows and columns, or about rows that may rest, starts.
    pub end: usize,
}

impl<C: Config> Assembly<'_, C> {
    /// Tiles of all windows.
    pub(super) fn tiles(&self) -> usize {
        self.plan.windows.iter().map(|window| window.tiles.len()).sum()
    }

    /// Vec4 of the scratch buffer before the terms.
    pub(super) fn first_term(&self) -> usize {
        self.step.first_term(self.tensors.tensors().len())
    }

    /// Of a part, where the terms of the whole model start: behind its own.
    pub(super) fn first_term_of_whole(&self) -> usize {
        self.first_term() + self.tiles() * self.step.terms()
    }

    /// Of a part, the tiles of the whole model, as far as it needs them.
    pub(super) fn tiles_of_whole(&self) -> usize {
        let over_all = self.step.reductions.iter().any(|reduction| reduction.all.is_some());
        let whole = self.whole.as_ref().filter(|_| over_all);
        whole.map_or(0, |whole| whole.iter().map(|(_, tiles)| *tiles as usize).sum())
    }

    pub(super) fn scratch_size(&self) -> u64 {
        if self.step.has_scratch() && self.tiles() > 0 {
            let elsewhere = self.tiles_of_whole() * self.step.terms();
            (self.first_term_of_whole() + elsewhere) as u64 * VEC4
        } else {
            0
        }
    }

    pub(super) fn table_parts(&self, window: &Window) -> TableParts {
        let (owners, rows) = (self.owners.len(), &self.step.rows);
        let counted = HEADER + self.places.set * owners * rows.now_vec4 as usize;
        let counts = counted + self.places.counted * owners * rows.counted_vec4 as usize;
        let words = match self.step.shape {
            // A word for each invocation that has a tile.
            Shape::Long => window.workgroups as usize * self.step.shape.invocations() as usize,
            // A word for each tile.
            Shape::Wide(_) => window.tiles.len(),
        };
        let tiles = counts + words.div_ceil(4);
        let end = tiles + std::mem::size_of_val(&window.tiles[..]) / VEC4 as usize;
        TableParts { counted, counts, tiles, end }
    }

    /// Bytes of a table.
    pub(super) fn table_size(&self, index: usize, window: &Window) -> u64 {
        let factored = self.factored.as_ref().map_or(0, |factored| factored.table_vec4(index));
        let row_words = self.row_words.as_ref().map_or(0, |words| words.table.len());
        (self.table_parts(window).end + factored + row_words) as u64 * VEC4
    }

    fn check_sizes(&self) -> Result<(), Error> {
        let (binding, limit_name) = self.limits.largest_binding();
        let name = self.step.spec.name;
        let (owners, places) = (self.owners.len(), self.places.set);
        let owner = if self.step.own_steps { "tensors" } else { "groups" };
        let table = format!("table of {owners} {owner} and {places} steps ahead, in bytes");
        for (index, window) in self.plan.windows.iter().enumerate() {
            need(name, &table, self.table_size(index, window), limit_name, binding)?;
            let limit = self.limits.max_compute_workgroups_per_dimension.into();
            need(
                name,
                "rows of workgroups",
                window.grid.1.into(),
                "max_compute_workgroups_per_dimension",
                limit,
            )?;
        }
        need(name, "terms, in bytes", self.scratch_size(), limit_name, binding)?;
        let factored = self.factored.as_ref().map_or(0, |factored| factored.elements as u64 * ELEMENT);
        need(name, "rows and columns, in bytes", factored, limit_name, binding)?;
        let row_words = self.row_words.as_ref().map_or(0, |words| words.words * ELEMENT);
        need(name, "masks and counts of rows, in bytes", row_words, limit_name, binding)
    }

    fn program(&self) -> Program {
        let mut buffers: Vec<Buffer> = self
            .tensors
            .buffers()
            .iter()
            .map(|buffer| self.buffer(buffer.role, buffer.size, Usage::Given, vec![]))
            .collect();
        let mut windows = vec![];
        let mut before = 0;
        for (index, window) in self.plan.windows.iter().enumerate() {
            windows.push(self.window(index, window, before, &mut buffers));
            before += window.tiles.len();
        }
        let mut push = |buffer| {
            buffers.push(buffer);
            buffers.len() as u32 - 1
        };
        let records_size = self.places.set as u64 * RECORD_STRIDE;
        let records = push(self.buffer("records", records_size, Usage::Uniform, vec![]));
        let scratch = (self.scratch_size() > 0).then(|| push(self.scratch()));
        let factored = self.factored.as_ref().map(|factored| {
            push(self.buffer("rows and columns", factored.elements as u64 * ELEMENT, Usage::Storage, vec![]))
        });
        let row_masks = self.row_words.as_ref().filter(|words| words.words > 0).map(|words| {
            let buffer =
                self.buffer("masks of rows", words.words * ELEMENT, Usage::Storage, words.contents());
            words.places(push(buffer))
        });
        let mut program = Program {
            version: VERSION,
            optimizer: self.step.spec.name.into(),
            label: self.label.clone(),
            groups: self.tensors.groups().to_vec(),
            wrappers: self.step.wrappers.names().into_iter().map(Into::into).collect(),
            rows: self.rows(&windows, records),
            buffers,
            layouts: vec![],
            modules: vec![],
            bindings: vec![],
            passes: vec![],
            slots: self.slots(),
            windows,
            factored,
            scratch,
            row_masks,
            part: self.whole.clone().map(|tiles| Part {
                tiles,
                own: tiles_in_order(&self.plan, self.tensors).into_iter().map(|(name, _)| name).collect(),
                exchanges: vec![],
            }),
            tensors: self.tensor_places(),
            readings: scratch.map(|buffer| self.readings(buffer)).unwrap_or_default(),
            bytes_per_parameter: self.step.bytes_per_parameter(),
            hash: 0,
        };
        if !program.windows.is_empty() {
            self.add_passes(&mut program, records);
        }
        program
    }

    pub(super) fn buffer(&self, name: &str, size: u64, usage: Usage, contents: Vec<Fill>) -> Buffer {
        Buffer { label: format!("{}: {name}", self.label), size, usage, contents }
    }

    fn rows(&self, windows: &[WindowPlace], records: u32) -> Rows {
        let layout = self.step.rows.clone();
        let ring = |vec4: u32, places: usize, at: &dyn Fn(&TableParts) -> usize| Ring {
            places: places as u32,
            stride: self.owners.len() as u64 * u64::from(vec4) * VEC4,
            at: windows
                .iter()
                .zip(&self.plan.windows)
                .map(|(place, window)| (place.table, at(&self.table_parts(window)) as u64 * VEC4))
                .collect(),
        };
        let set = ring(layout.now_vec4, self.places.set, &|_| HEADER);
        let counted = ring(layout.counted_vec4, self.places.counted, &|parts| parts.counted);
        let places = self.places.set as u32;
        let records = Ring { places, stride: RECORD_STRIDE, at: vec![(records, 0)] };
        let count = windows.first().map(|window| Slice { size: ELEMENT, ..window.counts });
        let (skips, ends) = (self.step.wrappers.skips(), self.step.rows_count());
        // Rows for all counts stay.
        let count = count.filter(|_| layout.counted_vec4 > 0 && !ends);
        Rows { layout, set, counted, records, count, skips, ends, owners: self.counting_tensors(windows) }
    }

    /// Where the tensors' counts are, if each has its own.
    fn counting_tensors(&self, windows: &[WindowPlace]) -> Vec<Owner> {
        if !self.step.own_steps {
            return vec![];
        }
        let owner = |group: &usize| Owner { group: *group as u32, counts: vec![] };
        let mut owners: Vec<Owner> = self.owners.iter().map(owner).collect();
        for (window, place) in self.plan.windows.iter().zip(windows) {
            for (tile, counters) in self.counters(window) {
                let counts = &mut owners[tile.owner as usize].counts;
                let offset = place.counts.offset + counters.start * ELEMENT;
                let size = (counters.end - counters.start) * ELEMENT;
                match counts.last_mut() {
                    Some(last) if last.buffer == place.table && last.offset + last.size == offset => {
                        last.size += size;
                    }
                    _ => counts.push(Slice { buffer: place.table, offset, size }),
                }
            }
        }
        owners
    }

    fn slots(&self) -> Vec<SlotPlace> {
        let place = |stream: &super::step::Stream| SlotPlace {
            name: stream.name.into(),
            kind: stream.kind,
            depth: stream.depth,
            place: stream.place.map(|(buffer, rank)| (buffer as u32, rank)),
        };
        self.step.streams.iter().map(place).collect()
    }

    fn tensor_places(&self) -> Vec<TensorPlace> {
        let place = |(index, tensor): (usize, &super::Tensor)| TensorPlace {
            name: tensor.name.clone(),
            shape: tensor.shape.iter().map(|side| *side as u64).collect(),
            group: tensor.group as u32,
            pieces: self.plan.pieces[index]
                .iter()
                .map(|piece| Piece { window: piece.window as u32, state: piece.state, len: piece.len })
                .collect(),
            factored: self.factored.as_ref().map(|factored| {
                let [rows, columns, _] = factored.places[index];
                let matrices = super::Matrices::of(&tensor.shape);
                [(rows, SlotKind::Rows), (columns, SlotKind::Columns)]
                    .map(|(at, kind)| (at as u64, matrices.lines(kind) as u64))
            }),
        };
        self.tensors.tensors().iter().enumerate().map(place).collect()
    }

    /// What of the scratch buffer a host may want to know; see `shaders/core/scratch.wgsl`.
    fn readings(&self, scratch: u32) -> Vec<Reading> {
        let wrappers = &self.step.wrappers;
        let words = |first: u64, count: u64| Slice {
            buffer: scratch,
            offset: first * ELEMENT,
            size: count * ELEMENT,
        };
        let device = self.step.spec.device_scalars().count() as u64;
        let all = [
            ("grad_norm", wrappers.reduces_gradients(), vec![words(0, 2)]),
            ("device_scalars", device > 0, vec![words(4 * SCRATCH_HEADER as u64, device)]),
            ("skips", wrappers.skips(), vec![words(4, 3), words(8, 1)]),
            ("loss_scale", wrappers.loss_scale.is_some(), vec![words(4, 1), words(9, 1)]),
        ];
        let there = all.into_iter().filter(|(_, there, _)| *there);
        there.map(|(name, _, slices)| Reading { name: name.into(), slices }).collect()
    }
}
