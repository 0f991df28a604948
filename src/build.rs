//! What an optimizer makes once on the device: tables, slots, pipelines, bind groups, and the list of
//! dispatches that every step repeats.

use crate::any_rule::Config;
use crate::clock::Places;
use crate::error::Error;
use crate::limits::{largest_binding, need};
use crate::lines::Lines;
use crate::params::ParamSet;
use crate::plan::{ELEMENT, PACKED, Plan, Tile, Window};
use crate::rule::{FieldKind, MAX_CARRIED, MAX_SLOTS, Method, Scope, carried_fields};
use crate::scope::guarded;
use crate::shader::{
    Access, COMBINE, COMBINE_ENTRY_POINT, COMBINE_WIDTH, Kind, MAX_MEASURED, NOW_BINDING, Rows, SlotLayout,
    WORKGROUP, carries, compose_with,
};
use crate::wrappers::{Now, WRAPPER_SLOTS};
use std::collections::HashMap;
use wgpu::BufferUsages;

/// Bytes of a vec4 of the table.
const QUAD: u64 = 16;
/// Vec4 before the rows in a table.
const HEADER: usize = 3;
/// Byte at which a table's rows start.
pub(crate) const ROWS_AT: u64 = HEADER as u64 * QUAD;

/// Bytes of the records of recorded steps, one for each: where a dynamic offset may point.
pub(crate) const RECORD: u64 = 256;

/// Tiles that one invocation adds up.
const FEW_TILES: usize = 16;

/// One dispatch of a step.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    /// Its record of the step is chosen by a dynamic offset.
    pub bind_group: wgpu::BindGroup,
    pub grid: (u32, u32),
}

/// A window's own buffers.
#[derive(Debug)]
pub(crate) struct WindowBuffers {
    pub table: wgpu::Buffer,
    /// Byte at which the counted rows start in the table.
    pub counted_at: u64,
    /// Byte at which the counts start in the table.
    pub counts_at: u64,
    pub state: Vec<wgpu::Buffer>,
    pub state_len: u64,
}

/// Everything on the device.
#[derive(Debug)]
pub(crate) struct Built {
    pub windows: Vec<WindowBuffers>,
    /// The records of the last recorded steps; see `shaders/now.wgsl`.
    pub now: wgpu::Buffer,
    /// See `shaders/scratch.wgsl`.
    pub scratch: Option<wgpu::Buffer>,
    /// See `shaders/lines.wgsl`.
    pub lines: Option<(wgpu::Buffer, Lines)>,
    /// In the order of a step.
    pub dispatches: Vec<Dispatch>,
}

/// Makes all of it.
pub(crate) struct Builder<'a, C> {
    pub device: &'a wgpu::Device,
    pub params: &'a ParamSet,
    pub method: &'a dyn Method,
    pub wgsl: &'a str,
    pub layout: &'a SlotLayout,
    pub label: &'a str,
    pub groups: &'a [C],
    pub rows: &'a Rows,
    pub places: Places,
    /// All groups' counted rows of the first step.
    pub first_counted: &'a [u32],
}

/// What the dispatches of all windows share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    now: &'a wgpu::Buffer,
    scratch: Option<&'a wgpu::Buffer>,
    lines: Option<(&'a wgpu::Buffer, &'a Lines)>,
}

/// The partial sums of a segment: its first tile among all windows' tiles, its tiles, the place of its result,
/// and whether it is everything.
struct Segment {
    first: usize,
    tiles: usize,
    result: usize,
    all: bool,
}

impl<C: Config> Builder<'_, C> {
    pub fn build(&self, plan: &Plan, limits: &wgpu::Limits) -> Result<Built, Error> {
        let scratch_size = self.scratch_size(tiles(plan));
        let lines = self.layout.has_lines(self.method).then(|| self.lines(plan));
        let lines = lines.filter(|lines| lines.elements > 0);
        self.check_sizes(plan, scratch_size, lines.as_ref(), limits)?;
        let what = format!("the slots of '{}'", self.method.name());
        let (windows, now, scratch, line_buffer) = guarded(self.device, &what, || {
            let (mut windows, mut before) = (vec![], 0);
            for window in &plan.windows {
                windows.push(self.window(window, windows.len(), before, lines.as_ref())?);
                before += window.tiles.len();
            }
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let line_buffer = lines
                .as_ref()
                .map(|lines| self.buffer("rows and columns", lines.elements as u64 * ELEMENT, usage, false));
            let records = self.places.set as u64 * RECORD;
            let now = self.buffer("records", records, BufferUsages::UNIFORM | BufferUsages::COPY_DST, false);
            Ok::<_, Error>((windows, now, self.scratch(scratch_size)?, line_buffer))
        })??;
        let dispatches = guarded(self.device, self.method.name(), || {
            let lines = line_buffer.as_ref().zip(lines.as_ref());
            let shared = Shared { now: &now, scratch: scratch.as_ref(), lines };
            self.dispatches(plan, &windows, shared, limits.max_compute_workgroups_per_dimension)
        })??;
        Ok(Built { windows, now, scratch, lines: line_buffer.zip(lines), dispatches })
    }

    /// Vec4 of the scratch buffer before the partial sums.
    fn results(&self) -> usize {
        self.layout.results(self.method, self.params.tensors.len())
    }

    /// Partial sums of a tile, in the widest of the measuring dispatches.
    fn quantities(&self) -> usize {
        let kinds = self.layout.measuring(self.method);
        kinds.iter().map(|kind| self.layout.quantities(self.method, *kind).len()).max().unwrap_or(0)
    }

    /// The scratch buffer, ready for the first step.
    fn scratch(&self, size: u64) -> Result<Option<wgpu::Buffer>, Error> {
        if size == 0 {
            return Ok(None);
        }
        let scale = self.layout.wrappers.loss_scale.map_or(1.0, |scale| scale.initial as f32);
        let mut header = vec![[0.0; 4], [scale, 1.0, 1.0, 0.0], [0.0; 4]];
        if carries(self.method) {
            let mut start = [0f32; MAX_CARRIED];
            start.iter_mut().zip(self.method.carried()).for_each(|(word, value)| *word = value as f32);
            header.push(start);
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let header: &[u8] = bytemuck::cast_slice(&header);
        self.filled("norms", size, usage, |view| view.slice(..header.len()).copy_from_slice(header)).map(Some)
    }

    fn scratch_size(&self, tiles: usize) -> u64 {
        if self.layout.has_scratch(self.method) && tiles > 0 {
            (self.results() + tiles * self.quantities()) as u64 * QUAD
        } else {
            0
        }
    }

    fn lines(&self, plan: &Plan) -> Lines {
        let tensors = &self.params.tensors;
        let shapes: Vec<_> = tensors.iter().map(|tensor| (&tensor.shape[..], tensor.group.index())).collect();
        Lines::new(&shapes, plan)
    }

    fn check_sizes(
        &self,
        plan: &Plan,
        scratch: u64,
        lines: Option<&Lines>,
        limits: &wgpu::Limits,
    ) -> Result<(), Error> {
        let (binding, limit_name) = largest_binding(limits);
        let table = format!("table of {} groups, in bytes", self.groups.len());
        for (index, window) in plan.windows.iter().enumerate() {
            let lines = lines.map_or(0, |lines| lines.table_quads(index) as u64 * QUAD);
            need(self.method, &table, self.table_size(window) + lines, limit_name, binding)?;
            let (rows, limit) = (window.grid.1.into(), limits.max_compute_workgroups_per_dimension.into());
            need(self.method, "rows of workgroups", rows, "max_compute_workgroups_per_dimension", limit)?;
        }
        need(self.method, "partial sums, in bytes", scratch, limit_name, binding)?;
        let lines = lines.map_or(0, |lines| lines.elements as u64 * ELEMENT);
        need(self.method, "rows and columns, in bytes", lines, limit_name, binding)?;
        let measured = self.layout.measured(self.method).count();
        if measured > MAX_MEASURED {
            let reason = format!("it measures {measured} fields, more than {MAX_MEASURED}");
            return Err(Error::Shader { rule: self.method.name().into(), reason });
        }
        let carried = carried_fields(self.method.fields());
        if carried > MAX_CARRIED || carried > 0 && self.method.scope() != Scope::All {
            let reason = format!("it carries {carried} fields; at most {MAX_CARRIED}, and with Scope::All");
            return Err(Error::Shader { rule: self.method.name().into(), reason });
        }
        Ok(())
    }

    /// Every dispatch of a step: measure and combine the gradients, measure and combine what the rule
    /// wants, carry, apply.
    fn dispatches(
        &self,
        plan: &Plan,
        windows: &[WindowBuffers],
        shared: Shared<'_>,
        limit: u32,
    ) -> Result<Vec<Dispatch>, Error> {
        let layout = self.bind_group_layout();
        let pipeline_layout = self.pipeline_layout(&layout);
        let groups: Vec<wgpu::BindGroup> = plan
            .windows
            .iter()
            .zip(windows)
            .map(|(window, buffers)| self.bind_group(window, buffers, shared, &layout))
            .collect();
        let mut combine = None;
        let mut pipelines = HashMap::new();
        let mut dispatch = |kind: Kind, access: Access, window: usize, grid: (u32, u32)| {
            let pipeline = pipelines
                .entry((access, kind))
                .or_insert_with(|| self.pipeline(access, kind, &pipeline_layout))
                .clone();
            Dispatch { pipeline, bind_group: groups[window].clone(), grid }
        };
        let fold = |workgroups: usize| crate::plan::fold(workgroups as u64, limit);
        let mut dispatches = vec![];
        let kinds = self.layout.measuring(self.method).into_iter().chain([Kind::Apply]);
        for kind in kinds.filter(|_| !windows.is_empty()) {
            match (kind, shared.lines) {
                (Kind::MeasureLines, Some((_, lines))) => {
                    dispatches.extend((0..windows.len()).map(|window| {
                        dispatch(kind, Access::Single, window, fold(lines.measuring_workgroups(window)))
                    }));
                }
                (Kind::AverageLines, Some((_, lines))) => {
                    dispatches.push(dispatch(kind, Access::Single, 0, fold(lines.averaging_workgroups())));
                }
                (Kind::AverageMatrices, Some((_, lines))) => {
                    dispatches.push(dispatch(kind, Access::Single, 0, fold(lines.matrix_workgroups())));
                }
                (Kind::Carry, _) => {
                    dispatches.push(dispatch(kind, Access::Single, 0, (1, 1)));
                }
                _ => {
                    let each = plan.windows.iter().enumerate();
                    dispatches
                        .extend(each.map(|(window, plan)| dispatch(kind, plan.access, window, plan.grid)));
                }
            }
            if let Some(scratch) = shared.scratch
                && !self.layout.quantities(self.method, kind).is_empty()
            {
                let (pipeline, layout) = combine.get_or_insert_with(|| self.combine_pipeline());
                let segments = self.segments(plan, kind);
                dispatches.push(self.combine(pipeline, layout, kind, &segments, scratch, shared.now, limit)?);
            }
        }
        Ok(dispatches)
    }

    /// What a measuring dispatch's results are taken over.
    fn segments(&self, plan: &Plan, kind: Kind) -> Vec<Segment> {
        let result = self.layout.result(self.method, kind);
        let all = |result| Segment { first: 0, tiles: tiles(plan), result, all: true };
        let mut segments = match kind {
            Kind::MeasureGradients => vec![all(0)],
            Kind::MeasureRule if self.method.scope() == Scope::All => return vec![all(result)],
            _ => vec![],
        };
        if kind == Kind::MeasureGradients && self.layout.wrappers.max_tensor_norm.is_none() {
            return segments;
        }
        // Without merging, a tensor's tiles are neighbours, also from one window to the next.
        let mut tensors: Vec<(u32, Segment)> = vec![];
        for (index, tile) in plan.windows.iter().flat_map(|window| &window.tiles).enumerate() {
            match tensors.last_mut() {
                Some((tensor, segment)) if *tensor == tile.tensor => segment.tiles += 1,
                _ => {
                    let result = result + tile.tensor as usize * self.layout.results_of_tensor(self.method);
                    tensors.push((tile.tensor, Segment { first: index, tiles: 1, result, all: false }));
                }
            }
        }
        segments.extend(tensors.into_iter().map(|(_, segment)| segment));
        segments
    }

    #[allow(clippy::too_many_arguments)]
    fn combine(
        &self,
        pipeline: &wgpu::ComputePipeline,
        layout: &wgpu::BindGroupLayout,
        kind: Kind,
        segments: &[Segment],
        scratch: &wgpu::Buffer,
        now: &wgpu::Buffer,
        limit: u32,
    ) -> Result<Dispatch, Error> {
        let kinds = self.layout.quantities(self.method, kind);
        let quantities = kinds.len();
        // Each of the first takes a workgroup, of the others an invocation.
        let (many, few): (Vec<&Segment>, Vec<&Segment>) =
            segments.iter().partition(|segment| segment.tiles > FEW_TILES);
        let code = |kind: &FieldKind| match kind {
            FieldKind::Max => 1,
            FieldKind::Sum => 2,
            _ => 0,
        };
        let codes: u32 = (0..).zip(&kinds).map(|(i, kind): (u32, _)| code(kind) << (2 * i)).sum();
        let wrappers = &self.layout.wrappers;
        let gradients = kind == Kind::MeasureGradients;
        let header = [
            [many.len() as u32, quantities as u32, few.len() as u32, codes],
            [gradients.into(), 0, wrappers.skips().into(), 0],
        ];
        let row = |segment: &&Segment| {
            // The partial sums of a tile are neighbours.
            let first = self.results() + segment.first * quantities;
            [first as u32, segment.tiles as u32, segment.result as u32, segment.all.into()]
        };
        let words: Vec<[u32; 4]> = header.into_iter().chain(many.iter().chain(&few).map(row)).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let table = self.filled("segments", bytes.len() as u64, BufferUsages::STORAGE, |view| {
            view.copy_from_slice(bytes);
        })?;
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.label),
            layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: table.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: scratch.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 2, resource: record(now) },
            ],
        });
        let workgroups = many.len() + few.len().div_ceil(COMBINE_WIDTH);
        let grid = crate::plan::fold(workgroups as u64, limit);
        Ok(Dispatch { pipeline: pipeline.clone(), bind_group, grid })
    }

    fn module(&self, wgsl: std::borrow::Cow<'_, str>) -> wgpu::ShaderModule {
        self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(self.label),
            source: wgpu::ShaderSource::Wgsl(wgsl),
        })
    }

    fn pipeline(&self, access: Access, kind: Kind, layout: &wgpu::PipelineLayout) -> wgpu::ComputePipeline {
        let module = self.module(compose_with(self.method, self.wgsl, self.layout, access, kind).into());
        self.compute_pipeline(&module, kind.entry_point(), layout)
    }

    fn combine_pipeline(&self) -> (wgpu::ComputePipeline, wgpu::BindGroupLayout) {
        let layout = self.layout_of(&[storage(0, true), storage(1, false), uniform(2)]);
        let module = self.module(COMBINE.into());
        (self.compute_pipeline(&module, COMBINE_ENTRY_POINT, &self.pipeline_layout(&layout)), layout)
    }

    fn compute_pipeline(
        &self,
        module: &wgpu::ShaderModule,
        entry_point: &str,
        layout: &wgpu::PipelineLayout,
    ) -> wgpu::ComputePipeline {
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.label),
            layout: Some(layout),
            module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// One layout for every kind of dispatch over a window, so that they share a bind group.
    fn bind_group_layout(&self) -> wgpu::BindGroupLayout {
        let clears = self.layout.wrappers.zero_gradients;
        let entry = |binding: u32| match binding {
            NOW_BINDING => uniform(binding),
            _ => storage(binding, binding == 2 && !clears),
        };
        let lines = u32::from(self.layout.has_lines(self.method));
        let bindings = self.layout.lines_binding(self.method) + lines;
        self.layout_of(&(0..bindings).map(entry).collect::<Vec<_>>())
    }

    fn layout_of(&self, entries: &[wgpu::BindGroupLayoutEntry]) -> wgpu::BindGroupLayout {
        let label = Some(self.label);
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries })
    }

    fn pipeline_layout(&self, group: &wgpu::BindGroupLayout) -> wgpu::PipelineLayout {
        self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(self.label),
            bind_group_layouts: &[Some(group)],
            immediate_size: 0,
        })
    }

    fn bind_group(
        &self,
        window: &Window,
        buffers: &WindowBuffers,
        shared: Shared<'_>,
        layout: &wgpu::BindGroupLayout,
    ) -> wgpu::BindGroup {
        let pair = &self.params.pairs[window.block];
        let range = |buffer, range: &std::ops::Range<u64>| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: range.start,
                size: wgpu::BufferSize::new(range.end - range.start),
            })
        };
        let fixed = [
            buffers.table.as_entire_binding(),
            range(&pair.param, &window.param),
            range(&pair.grad, &window.grad),
            record(shared.now),
        ];
        let lines = shared.lines.map(|(buffer, _)| buffer);
        let rest = shared.scratch.into_iter().chain(&buffers.state).chain(lines);
        let rest = rest.map(wgpu::Buffer::as_entire_binding);
        let entries: Vec<_> = (0..)
            .zip(fixed.into_iter().chain(rest))
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.label),
            layout,
            entries: &entries,
        })
    }

    /// Where the parts of a table start, in vec4: counted rows, counts, tiles, and the end of the tiles.
    fn table_parts(&self, window: &Window) -> [usize; 4] {
        let groups = self.groups.len();
        let counted = HEADER + self.places.set * groups * self.rows.now_quads();
        let counts = counted + self.places.counted * groups * self.rows.counted_quads();
        // A word for each invocation that has a tile.
        let small = window.tiles.iter().filter(|tile| u64::from(tile.count) <= window.small).count();
        let workgroups = window.tiles.len() - small + small.div_ceil(PACKED as usize);
        let tiles = counts + workgroups * WORKGROUP as usize / 4;
        [counted, counts, tiles, tiles + std::mem::size_of_val(&window.tiles[..]) / QUAD as usize]
    }

    /// Bytes of a table without the part that is about lines.
    fn table_size(&self, window: &Window) -> u64 {
        let [.., end] = self.table_parts(window);
        end as u64 * QUAD
    }

    /// The table and slots of window `index`; `before` tiles are in the windows before it.
    fn window(
        &self,
        window: &Window,
        index: usize,
        before: usize,
        lines: Option<&Lines>,
    ) -> Result<WindowBuffers, Error> {
        let lines_at = (self.table_size(window) / QUAD) as usize;
        let lines = lines.map(|lines| lines.table(index, lines_at)).unwrap_or_default();
        let table = self.table(window, before, &lines)?;
        let state = (0..self.layout.buffers).map(|buffer| self.state(window, buffer));
        let [counted_at, counts_at, ..] = self.table_parts(window).map(|quads| quads as u64 * QUAD);
        Ok(WindowBuffers {
            table,
            counted_at,
            counts_at,
            state: state.collect::<Result<_, _>>()?,
            state_len: window.state,
        })
    }

    /// Header, rows (written by the steps), counts and tiles; see `shaders/frame.wgsl`. Counted rows that no step has
    /// written yet are those of the first step: whatever a device's count may be, it finds a row that makes sense.
    fn table(&self, window: &Window, before: usize, lines: &[[u32; 4]]) -> Result<wgpu::Buffer, Error> {
        let [counted, counts, tiles, end] = self.table_parts(window);
        let groups = self.groups.len();
        let counted_quads = self.rows.counted_quads();
        let (small, large): (Vec<Tile>, Vec<Tile>) =
            window.tiles.iter().partition(|tile| u64::from(tile.count) <= window.small);
        let header = [
            [large.len(), tiles, self.rows.now_quads(), (window.state / 4) as usize],
            [self.results(), before, counts, end],
            [counted_quads, counted, groups * counted_quads, self.places.counted],
        ];
        let header = header.map(|words| words.map(|word| word as u32));
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let size = end as u64 * QUAD + std::mem::size_of_val(lines) as u64;
        self.filled("table", size, usage, |view| {
            let bytes =
                |quads: std::ops::Range<usize>| quads.start * QUAD as usize..quads.end * QUAD as usize;
            view.slice(..ROWS_AT as usize).copy_from_slice(bytemuck::cast_slice(&header));
            let first: &[u8] = bytemuck::cast_slice(self.first_counted);
            for place in 0..self.places.counted {
                let start = counted * QUAD as usize + place * first.len();
                view.slice(start..start + first.len()).copy_from_slice(first);
            }
            view.slice(bytes(tiles..end)).copy_from_slice(bytemuck::cast_slice(&[large, small].concat()));
            view.slice(end * QUAD as usize..).copy_from_slice(bytemuck::cast_slice(lines));
        })
    }

    /// One state buffer, its slots at their initial values.
    fn state(&self, window: &Window, buffer: usize) -> Result<wgpu::Buffer, Error> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let slots: Vec<usize> = self.layout.slots_in(buffer).collect();
        let names = || self.method.slots().iter().chain(&WRAPPER_SLOTS);
        let names: Vec<&str> = slots.iter().filter_map(|slot| names().nth(*slot).copied()).collect();
        let name = format!("slots {}", names.join(", "));
        let size = u64::from(self.layout.depth_of(buffer)) * window.state * ELEMENT;
        let initial = |group: u32, slot: usize| {
            let mut values = [0f32; MAX_SLOTS];
            self.groups[group as usize].method().initial(&mut values[..self.method.slots().len()]);
            values[slot]
        };
        let all_zero =
            (0..self.groups.len() as u32).all(|group| slots.iter().all(|slot| initial(group, *slot) == 0.0));
        if all_zero {
            // wgpu hands out zeroed buffers.
            return Ok(self.buffer(&name, size, usage, false));
        }
        self.filled(&name, size, usage, |view| {
            let ranks = slots.iter().flat_map(|slot| {
                let first = self.layout.place(*slot).map_or(0, |(_, rank)| rank);
                (first..first + self.layout.depths[*slot]).map(move |rank| (rank, *slot))
            });
            for (rank, slot) in ranks {
                for tile in &window.tiles {
                    let start = (u64::from(rank) * window.state + u64::from(tile.state)) * ELEMENT;
                    let values = vec![initial(tile.group, slot); tile.count as usize];
                    let bytes: &[u8] = bytemuck::cast_slice(&values);
                    view.slice(start as usize..start as usize + bytes.len()).copy_from_slice(bytes);
                }
            }
        })
    }

    fn buffer(&self, name: &str, size: u64, usage: BufferUsages, mapped: bool) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(&format!("{}: {name}", self.label)),
            size,
            usage,
            mapped_at_creation: mapped,
        })
    }

    /// A buffer with contents.
    fn filled(
        &self,
        name: &str,
        size: u64,
        usage: BufferUsages,
        fill: impl FnOnce(&mut wgpu::BufferViewMut),
    ) -> Result<wgpu::Buffer, Error> {
        let buffer = self.buffer(name, size, usage, true);
        let mut view = buffer
            .get_mapped_range_mut(..)
            .map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
        fill(&mut view);
        drop(view);
        buffer.unmap();
        Ok(buffer)
    }
}

/// A storage buffer of a bind group layout.
fn storage(binding: u32, read_only: bool) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Storage { read_only }, false)
}

/// The record of the step, at a dynamic offset.
fn uniform(binding: u32) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Uniform, true)
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}

/// One record of the buffer of records.
fn record(now: &wgpu::Buffer) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: now,
        offset: 0,
        size: wgpu::BufferSize::new(std::mem::size_of::<Now>() as u64),
    })
}

fn tiles(plan: &Plan) -> usize {
    plan.windows.iter().map(|window| window.tiles.len()).sum()
}
