//! Assembles a program: from tensors, groups, options and limits to buffers, modules, bindings and passes.

use super::factored::Factored;
use super::host_rows::{Places, first_counted};
use super::limits::need;
use super::passes::{PassKind, Reach};
use super::record::{RECORD_BYTES, RECORD_STRIDE};
use super::step::{Access, Reduction, SCRATCH_HEADER, Step, bindings};
use super::text::{self, COMBINE, COMBINE_ENTRY_POINT};
use super::windows::{self, PACKED, Plan, Sizes, Tile, Window, plan, small_for, tile_for};
use super::{
    BindGroup, Binding, Buffer, COMBINE_WIDTH, ELEMENT, Fill, Limits, Module, Options, Pass, Piece, Program,
    Reading, Ring, Rows, Slice, SlotPlace, TensorPlace, Tensors, Usage, VEC4, VERSION, WORKGROUP,
    WindowPlace,
};
use crate::error::{Error, Refusal};
use crate::rule::{Config, FieldKind, SlotKind, initial_of};
use crate::wrappers::{LossScale, Wrappers};
use std::collections::HashMap;

/// Vec4 before the rows in a table.
const HEADER: usize = 3;
/// Tiles whose terms one invocation adds up; more take a workgroup.
const FEW_TILES: usize = 16;

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
        check_groups(tensors.groups(), groups, &options.wrappers)?;
        let rule = groups[0].rule();
        let step = Step::resolve(rule, groups, options, limits)?;
        let sums = step.has_scratch();
        let tile = match options.tile {
            Some(tile) => u64::from(tile.clamp(256, 1 << 20).next_power_of_two()),
            // The tree of a sum follows the tiles, so they must not depend on how much there is.
            None if sums => 1 << 12,
            None => tile_for(tensors.elements(), limits.software),
        };
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
            small: small_for(limits.software),
        };
        need(step.spec.name, "bytes of a binding", sizes.smallest_binding(), binding_limit, binding)?;
        let block = |pair: &super::tensors::Pair| windows::Block {
            param_size: tensors.buffers()[pair.param].size,
            grad_size: tensors.buffers()[pair.grad].size,
            padding: pair.padding,
        };
        let blocks: Vec<_> = tensors.pairs().iter().map(block).collect();
        // Where there are sums, tiles are cut from each tensor's start: their tree depends on the tensors alone.
        let plan = plan(&tensors.spans(), &blocks, tensors.tensors().len(), sizes, !sums);
        let places =
            Places::new(&step.rows, groups.len(), plan.windows.len(), step.wrappers.skips(), binding);
        let first_counted = first_counted(&step.rows, groups, tensors.groups())?;
        let factored = step.spec.is_factored().then(|| {
            let shapes = tensors.tensors().iter().map(|tensor| (&tensor.shape[..], tensor.group));
            Factored::new(&shapes.collect::<Vec<_>>(), &plan)
        });
        let factored = factored.filter(|factored| factored.elements > 0);
        let label = options.label.clone().unwrap_or_else(|| format!("wgpu-optim: {}", step.spec.name));
        let assembly =
            Assembly { step, tensors, groups, plan, places, first_counted, factored, label, limits };
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
struct Assembly<'a, C> {
    step: Step<'a>,
    tensors: &'a Tensors,
    groups: &'a [C],
    plan: Plan,
    places: Places,
    /// All groups' counted rows of the first step.
    first_counted: Vec<u32>,
    factored: Option<Factored>,
    label: String,
    limits: &'a Limits,
}

/// The terms of a segment: its first tile among all windows' tiles, its tiles, the place of its result,
/// and whether it is everything.
struct Segment {
    first: usize,
    tiles: usize,
    result: usize,
    all: bool,
}

/// Where the parts of a window's table start, in vec4.
struct TableParts {
    counted: usize,
    counts: usize,
    tiles: usize,
    /// Where the tiles end, and what is about rows and columns starts.
    end: usize,
}

impl<C: Config> Assembly<'_, C> {
    /// Tiles of all windows.
    fn tiles(&self) -> usize {
        self.plan.windows.iter().map(|window| window.tiles.len()).sum()
    }

    /// Vec4 of the scratch buffer before the terms.
    fn first_term(&self) -> usize {
        self.step.first_term(self.tensors.tensors().len())
    }

    fn scratch_size(&self) -> u64 {
        if self.step.has_scratch() && self.tiles() > 0 {
            (self.first_term() + self.tiles() * self.step.terms()) as u64 * VEC4
        } else {
            0
        }
    }

    fn table_parts(&self, window: &Window) -> TableParts {
        let (groups, rows) = (self.groups.len(), &self.step.rows);
        let counted = HEADER + self.places.set * groups * rows.now_vec4 as usize;
        let counts = counted + self.places.counted * groups * rows.counted_vec4 as usize;
        // A word for each invocation that has a tile.
        let small = window.tiles.iter().filter(|tile| u64::from(tile.count) <= window.small).count();
        let workgroups = window.tiles.len() - small + small.div_ceil(PACKED as usize);
        let tiles = counts + workgroups * WORKGROUP as usize / 4;
        let end = tiles + std::mem::size_of_val(&window.tiles[..]) / VEC4 as usize;
        TableParts { counted, counts, tiles, end }
    }

    /// Bytes of a table.
    fn table_size(&self, index: usize, window: &Window) -> u64 {
        let factored = self.factored.as_ref().map_or(0, |factored| factored.table_vec4(index));
        (self.table_parts(window).end + factored) as u64 * VEC4
    }

    fn check_sizes(&self) -> Result<(), Error> {
        let (binding, limit_name) = self.limits.largest_binding();
        let name = self.step.spec.name;
        let table = format!("table of {} groups, in bytes", self.groups.len());
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
        need(name, "rows and columns, in bytes", factored, limit_name, binding)
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

    fn buffer(&self, name: &str, size: u64, usage: Usage, contents: Vec<Fill>) -> Buffer {
        Buffer { label: format!("{}: {name}", self.label), size, usage, contents }
    }

    /// The table and the slots of a window; `before` tiles are in the windows before it.
    fn window(&self, index: usize, window: &Window, before: usize, buffers: &mut Vec<Buffer>) -> WindowPlace {
        let parts = self.table_parts(window);
        let table = buffers.len() as u32;
        buffers.push(self.table(index, window, before, &parts));
        let state = (0..self.step.state_buffers).map(|buffer| {
            buffers.push(self.state(window, buffer));
            buffers.len() as u32 - 1
        });
        let state = state.collect();
        let (offset, size) = (parts.counts as u64 * VEC4, (parts.tiles - parts.counts) as u64 * VEC4);
        WindowPlace { table, counts: Slice { buffer: table, offset, size }, state, stride: window.state }
    }

    /// Header, rows (written by the steps), counts and tiles; see `shaders/core/tiles.wgsl`. Counted rows that no step
    /// has written yet are those of the first step: whatever a device's count may be, it finds a row that makes sense.
    fn table(&self, index: usize, window: &Window, before: usize, parts: &TableParts) -> Buffer {
        let rows = &self.step.rows;
        let counted_vec4 = rows.counted_vec4 as usize;
        let (small, large): (Vec<Tile>, Vec<Tile>) =
            window.tiles.iter().partition(|tile| u64::from(tile.count) <= window.small);
        let header = [
            [large.len(), parts.tiles, rows.now_vec4 as usize, (window.state / 4) as usize],
            [self.first_term(), before, parts.counts, parts.end],
            [counted_vec4, parts.counted, self.groups.len() * counted_vec4, self.places.counted],
        ];
        let at = |vec4: usize| vec4 as u64 * VEC4;
        let mut contents = vec![fill(0, header.concat().into_iter().map(|word| word as u32).collect())];
        if counted_vec4 > 0 {
            let (words, times) = (self.first_counted.clone(), self.places.counted as u64);
            contents.push(Fill { at: at(parts.counted), words, times });
        }
        let tiles = [large, small].concat();
        contents.push(fill(at(parts.tiles), bytemuck::cast_slice(&tiles).to_vec()));
        if let Some(factored) = &self.factored {
            contents.push(fill(at(parts.end), factored.table(index, parts.end).concat()));
        }
        self.buffer("table", self.table_size(index, window), Usage::Storage, contents)
    }

    /// One state buffer, its slots at their initial values.
    fn state(&self, window: &Window, buffer: usize) -> Buffer {
        let names: Vec<&str> = self.step.streams_in(buffer).map(|stream| stream.name).collect();
        let name = format!("slots {}", names.join(", "));
        let size = u64::from(self.step.depth_of(buffer)) * window.state * ELEMENT;
        let initial: Vec<_> = self.groups.iter().map(|group| initial_of(group.rule())).collect();
        let mut contents: Vec<Fill> = vec![];
        for (slot, stream) in self.step.streams.iter().enumerate() {
            let Some((_, first)) = stream.place.filter(|(at, _)| *at == buffer) else { continue };
            for rank in first..first + stream.depth {
                for tile in &window.tiles {
                    let word = initial[tile.group as usize].get(slot).map_or(0, |value| value.to_bits());
                    let at = (u64::from(rank) * window.state + u64::from(tile.state)) * ELEMENT;
                    let times = u64::from(tile.count);
                    match contents.last_mut() {
                        _ if word == 0 => {}
                        // Neighbours that start alike are one.
                        Some(last) if last.words == [word] && last.at + last.times * ELEMENT == at => {
                            last.times += times;
                        }
                        _ => contents.push(Fill { at, words: vec![word], times }),
                    }
                }
            }
        }
        self.buffer(&name, size, Usage::Storage, contents)
    }

    /// The scratch buffer, ready for the first step.
    fn scratch(&self) -> Buffer {
        let scale = self.step.wrappers.loss_scale.map_or(1.0, |LossScale { initial, .. }| initial as f32);
        let mut header = vec![[0.0; 4], [scale, 1.0, 1.0, 0.0], [0.0; 4]];
        if self.step.has_device_scalars() {
            header.push(self.groups[0].rule().device_scalars().map(|value| value as f32));
        }
        let words = header.concat().into_iter().map(f32::to_bits).collect();
        self.buffer("results", self.scratch_size(), Usage::Storage, vec![fill(0, words)])
    }

    fn rows(&self, windows: &[WindowPlace], records: u32) -> Rows {
        let layout = self.step.rows.clone();
        let ring = |vec4: u32, places: usize, at: &dyn Fn(&TableParts) -> usize| Ring {
            places: places as u32,
            stride: self.groups.len() as u64 * u64::from(vec4) * VEC4,
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
        let count = count.filter(|_| layout.counted_vec4 > 0);
        Rows { layout, set, counted, records, count, skips: self.step.wrappers.skips() }
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

    /// Modules, bindings and passes: each pass over tiles, and behind it the one that combines its terms.
    fn add_passes(&self, program: &mut Program, records: u32) {
        program.layouts.push(self.window_layout());
        program.bindings = self.window_bindings(program, records);
        let mut modules: HashMap<(&str, Access), u32> = HashMap::new();
        let mut combine = None;
        for kind in &self.step.passes {
            for (window, workgroups) in self.dispatches(kind) {
                let access = kind.reach.access(self.plan.windows[window].access);
                let module = *modules.entry((kind.name, access)).or_insert_with(|| {
                    program.modules.push(Module {
                        label: format!("{}: {}", self.label, kind.name),
                        wgsl: text::module(&self.step, kind, access),
                        entry_point: kind.entry_point.into(),
                        layout: 0,
                    });
                    program.modules.len() as u32 - 1
                });
                program.passes.push(Pass { module, bindings: window as u32, workgroups });
            }
            if let (Some(reduction), Some(scratch)) = (self.step.reduction(kind.name), program.scratch) {
                let module = *combine.get_or_insert_with(|| self.combine_module(program));
                self.add_combine(program, module, reduction, scratch, records);
            }
        }
    }

    /// The windows and the workgroups of a pass.
    fn dispatches(&self, kind: &PassKind) -> Vec<(usize, [u32; 2])> {
        let fold = |workgroups: usize| self.fold(workgroups);
        let windows = self.plan.windows.iter().enumerate();
        match (kind.reach, &self.factored) {
            (Reach::Tiles, _) => windows.map(|(index, window)| (index, window.grid.into())).collect(),
            (Reach::EachWindow(count), Some(factored)) => {
                windows.map(|(index, _)| (index, fold(count(factored, index)))).collect()
            }
            (Reach::Once(count), Some(factored)) => vec![(0, fold(count(factored)))],
            (Reach::OneWorkgroup, _) => vec![(0, [1, 1])],
            (_, None) => vec![],
        }
    }

    fn fold(&self, workgroups: usize) -> [u32; 2] {
        windows::fold(workgroups as u64, self.limits.max_compute_workgroups_per_dimension).into()
    }

    /// One layout for every pass over a window, so that they share a bind group.
    fn window_layout(&self) -> Vec<Binding> {
        let count = self.step.factored_binding() + u32::from(self.step.spec.is_factored());
        let kind = |binding: u32| match binding {
            bindings::RECORD => Binding::Record,
            bindings::GRADS if !self.step.wrappers.zero_grad => Binding::ReadOnly,
            _ => Binding::ReadWrite,
        };
        (0..count).map(kind).collect()
    }

    fn window_bindings(&self, program: &Program, records: u32) -> Vec<BindGroup> {
        let whole = |buffer: u32| Slice { buffer, offset: 0, size: program.buffers[buffer as usize].size };
        let group = |(window, place): (&Window, &WindowPlace)| {
            let pair = self.tensors.pairs()[window.block];
            let part = |buffer: usize, range: &std::ops::Range<u64>| Slice {
                buffer: buffer as u32,
                offset: range.start,
                size: range.end - range.start,
            };
            let mut slices = vec![Slice { buffer: 0, offset: 0, size: 0 }; bindings::FIXED as usize];
            slices[bindings::TABLE as usize] = whole(place.table);
            slices[bindings::PARAMS as usize] = part(pair.param, &window.param);
            slices[bindings::GRADS as usize] = part(pair.grad, &window.grad);
            slices[bindings::RECORD as usize] = record(records);
            // The scratch buffer is the first behind the fixed ones.
            debug_assert!(program.scratch.is_none() || bindings::SCRATCH == bindings::FIXED);
            slices.extend(program.scratch.map(whole));
            slices.extend(place.state.iter().map(|buffer| whole(*buffer)));
            slices.extend(program.factored.map(whole));
            BindGroup { layout: 0, slices }
        };
        self.plan.windows.iter().zip(&program.windows).map(group).collect()
    }

    fn combine_module(&self, program: &mut Program) -> u32 {
        program.layouts.push(vec![Binding::ReadOnly, Binding::ReadWrite, Binding::Record]);
        program.modules.push(Module {
            label: format!("{}: combine", self.label),
            wgsl: COMBINE.into(),
            entry_point: COMBINE_ENTRY_POINT.into(),
            layout: program.layouts.len() as u32 - 1,
        });
        program.modules.len() as u32 - 1
    }

    /// What the results of a reduction are taken over.
    fn segments(&self, reduction: &Reduction) -> Vec<Segment> {
        let all = reduction.all.map(|result| Segment { first: 0, tiles: self.tiles(), result, all: true });
        let mut segments: Vec<Segment> = all.into_iter().collect();
        let Some(first_result) = reduction.tensor else { return segments };
        // Without merging, a tensor's tiles are neighbours, also from one window to the next.
        let mut of_tensor: Option<u32> = None;
        for (index, tile) in self.plan.windows.iter().flat_map(|window| &window.tiles).enumerate() {
            match segments.last_mut() {
                Some(segment) if of_tensor == Some(tile.tensor) => segment.tiles += 1,
                _ => {
                    let result = first_result + tile.tensor as usize * self.step.results_of_tensor;
                    segments.push(Segment { first: index, tiles: 1, result, all: false });
                    of_tensor = Some(tile.tensor);
                }
            }
        }
        segments
    }

    /// The pass that combines a reduction's terms; see `shaders/core/combine.wgsl`.
    fn add_combine(
        &self,
        program: &mut Program,
        module: u32,
        reduction: &Reduction,
        scratch: u32,
        records: u32,
    ) {
        let terms = reduction.kinds.len();
        let segments = self.segments(reduction);
        // Each of the first takes a workgroup, of the others an invocation.
        let (many, few): (Vec<&Segment>, Vec<&Segment>) =
            segments.iter().partition(|segment| segment.tiles > FEW_TILES);
        let code = |kind: &FieldKind| match kind {
            FieldKind::Max => 1,
            FieldKind::Sum => 2,
            _ => 0,
        };
        let codes: u32 = (0..).zip(&reduction.kinds).map(|(i, kind): (u32, _)| code(kind) << (2 * i)).sum();
        let gradients = reduction.all == Some(0);
        let header = [
            [many.len() as u32, terms as u32, few.len() as u32, codes],
            [gradients.into(), 0, self.step.wrappers.skips().into(), 0],
        ];
        let row = |segment: &&Segment| {
            // The terms of a tile are neighbours.
            let first = self.first_term() + segment.first * terms;
            [first as u32, segment.tiles as u32, segment.result as u32, segment.all.into()]
        };
        let words = header.into_iter().chain(many.iter().chain(&few).map(row)).flatten().collect();
        let contents = fill(0, words);
        let size = contents.words.len() as u64 * ELEMENT;
        program.buffers.push(self.buffer("segments", size, Usage::Storage, vec![contents]));
        let table = program.buffers.len() as u32 - 1;
        let whole = |buffer: u32| Slice { buffer, offset: 0, size: program.buffers[buffer as usize].size };
        let slices = vec![whole(table), whole(scratch), record(records)];
        let layout = program.modules[module as usize].layout;
        program.bindings.push(BindGroup { layout, slices });
        let workgroups = self.fold(many.len() + few.len().div_ceil(COMBINE_WIDTH as usize));
        program.passes.push(Pass { module, bindings: program.bindings.len() as u32 - 1, workgroups });
    }
}

/// Words that stand once.
fn fill(at: u64, words: Vec<u32>) -> Fill {
    Fill { at, words, times: 1 }
}

/// One record of the buffer of records.
fn record(buffer: u32) -> Slice {
    Slice { buffer, offset: 0, size: RECORD_BYTES }
}
