//! What an optimizer makes once on the device: tables, slots, pipelines, bind groups, and the list of
//! dispatches that every step repeats.

use crate::any_rule::Config;
use crate::error::Error;
use crate::limits::{largest_binding, need};
use crate::lines::Lines;
use crate::params::ParamSet;
use crate::plan::{ELEMENT, Plan, Tile, Window};
use crate::rule::{FieldKind, MAX_CARRIED, MAX_SLOTS, Method, Scope, carried_fields};
use crate::scope::guarded;
use crate::shader::{
    Access, COMBINE, COMBINE_ENTRY_POINT, COMBINE_WIDTH, Kind, MAX_MEASURED, SlotLayout, carries,
    compose_with,
};
use crate::wrappers::WRAPPER_SLOTS;
use std::collections::HashMap;
use wgpu::BufferUsages;

/// Bytes of a vec4 of the table.
const QUAD: u64 = 16;
/// Vec4 before the rows in a table.
const HEADER: usize = 2;
/// Byte at which a table's rows start.
pub(crate) const ROWS_AT: u64 = HEADER as u64 * QUAD;

/// Tiles that one invocation adds up.
const FEW_TILES: usize = 16;

/// One dispatch of a step.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub grid: (u32, u32),
}

/// A window's own buffers.
#[derive(Debug)]
pub(crate) struct WindowBuffers {
    pub table: wgpu::Buffer,
    pub state: Vec<wgpu::Buffer>,
    pub state_len: u64,
}

/// Everything on the device.
#[derive(Debug)]
pub(crate) struct Built {
    pub windows: Vec<WindowBuffers>,
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
    pub row_words: usize,
    /// Rows of a group that a table has room for: more than one where steps may be skipped.
    pub places: usize,
}

/// What the dispatches of all windows share.
#[derive(Clone, Copy)]
struct Shared<'a> {
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
        let (windows, scratch, line_buffer) = guarded(self.device, &what, || {
            let (mut windows, mut before) = (vec![], 0);
            for window in &plan.windows {
                windows.push(self.window(window, windows.len(), before, lines.as_ref())?);
                before += window.tiles.len();
            }
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let line_buffer = lines
                .as_ref()
                .map(|lines| self.buffer("rows and columns", lines.elements as u64 * ELEMENT, usage, false));
            Ok::<_, Error>((windows, self.scratch(scratch_size)?, line_buffer))
        })??;
        let dispatches = guarded(self.device, self.method.name(), || {
            let shared =
                Shared { scratch: scratch.as_ref(), lines: line_buffer.as_ref().zip(lines.as_ref()) };
            self.dispatches(plan, &windows, shared, limits.max_compute_workgroups_per_dimension)
        })??;
        Ok(Built { windows, scratch, lines: line_buffer.zip(lines), dispatches })
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
        let mut header = vec![[0.0; 4], [scale, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, self.places as f32]];
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
                let pipeline = combine.get_or_insert_with(|| self.combine_pipeline());
                dispatches.push(self.combine(pipeline, kind, &self.segments(plan, kind), scratch, limit)?);
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

    fn combine(
        &self,
        pipeline: &wgpu::ComputePipeline,
        kind: Kind,
        segments: &[Segment],
        scratch: &wgpu::Buffer,
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
        let bits = |value: f64| (value as f32).to_bits();
        let scale = wrappers.loss_scale;
        let (growth, backoff) = scale.map_or((1.0, 1.0), |scale| (scale.growth, scale.backoff));
        let gradients = kind == Kind::MeasureGradients;
        let header = [
            [many.len() as u32, quantities as u32, few.len() as u32, codes],
            [gradients.into(), bits(wrappers.average()), wrappers.skips().into(), 0],
            [bits(growth), bits(backoff), scale.map_or(0, |scale| scale.interval), 0],
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
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: table.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: scratch.as_entire_binding() },
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
        self.compute_pipeline(&module, kind.entry_point(), Some(layout))
    }

    fn combine_pipeline(&self) -> wgpu::ComputePipeline {
        self.compute_pipeline(&self.module(COMBINE.into()), COMBINE_ENTRY_POINT, None)
    }

    fn compute_pipeline(
        &self,
        module: &wgpu::ShaderModule,
        entry_point: &str,
        layout: Option<&wgpu::PipelineLayout>,
    ) -> wgpu::ComputePipeline {
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.label),
            layout,
            module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// One layout for every kind of dispatch over a window, so that they share a bind group.
    fn bind_group_layout(&self) -> wgpu::BindGroupLayout {
        let clears = self.layout.wrappers.zero_gradients;
        let reads = |binding| binding == 0 || binding == 2 && !clears;
        let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: reads(binding) },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let lines = u32::from(self.layout.has_lines(self.method));
        let bindings = self.layout.lines_binding(self.method) + lines;
        let entries: Vec<_> = (0..bindings).map(entry).collect();
        let label = Some(self.label);
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries })
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

    /// Bytes of a table without the part that is about lines.
    fn table_size(&self, window: &Window) -> u64 {
        let rows = self.places * self.groups.len() * self.row_words * 4;
        ROWS_AT + (rows + std::mem::size_of_val(&window.tiles[..])) as u64
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
        Ok(WindowBuffers { table, state: state.collect::<Result<_, _>>()?, state_len: window.state })
    }

    /// Header, rows (written at every step) and tiles; see `shaders/frame.wgsl`.
    fn table(&self, window: &Window, before: usize, lines: &[[u32; 4]]) -> Result<wgpu::Buffer, Error> {
        let row_quads = self.row_words / 4;
        let rows = self.groups.len() * row_quads;
        let tiles_at = HEADER + self.places * rows;
        let size = self.table_size(window);
        let lines_at = (size / QUAD) as usize;
        let (small, large): (Vec<Tile>, Vec<Tile>) =
            window.tiles.iter().partition(|tile| u64::from(tile.count) <= window.small);
        let header = [
            [large.len() as u32, tiles_at as u32, row_quads as u32, (window.state / 4) as u32],
            [self.results() as u32, before as u32, rows as u32, lines_at as u32],
        ];
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let size = size + std::mem::size_of_val(lines) as u64;
        self.filled("table", size, usage, |view| {
            view.slice(..ROWS_AT as usize).copy_from_slice(bytemuck::cast_slice(&header));
            let tiles = tiles_at * QUAD as usize..lines_at * QUAD as usize;
            view.slice(tiles).copy_from_slice(bytemuck::cast_slice(&[large, small].concat()));
            view.slice(lines_at * QUAD as usize..).copy_from_slice(bytemuck::cast_slice(lines));
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

fn tiles(plan: &Plan) -> usize {
    plan.windows.iter().map(|window| window.tiles.len()).sum()
}
