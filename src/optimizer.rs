//! The dispatcher: rows of host scalars up, one dispatch a window, nothing back.

use crate::error::Error;
use crate::limits::{need, slot_layout};
use crate::params::{GroupId, ParamSet, TensorId};
use crate::plan::{Bounds, ELEMENT, Piece, Plan, Window, plan, tile_for};
use crate::readback::{Download, copy_out};
use crate::rule::{Config, FieldKind, MAX_FIELDS, Memory, Method};
use crate::scope::guarded;
use crate::shader::{Access, ENTRY_POINT, FIRST_STATE_BINDING, SlotLayout, compose_with, row_quads};
use wgpu::{BufferUsages, CommandEncoder, ComputePass};

/// Bytes of a vec4 of the table.
const QUAD: u64 = 16;

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
    layout: SlotLayout,
    windows: Vec<Bound>,
    pieces: Vec<Vec<Piece>>,
    tensors: Vec<String>,
}

/// A window with its buffers.
#[derive(Debug)]
struct Bound {
    table: wgpu::Buffer,
    state: Vec<wgpu::Buffer>,
    state_len: u64,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: (u32, u32),
}

/// A step whose host scalars are recorded; it takes effect when it is encoded into a pass.
#[derive(Debug)]
#[must_use = "a prepared step does nothing until it is encoded into a compute pass"]
pub struct PreparedStep<'a> {
    windows: &'a [Bound],
    label: &'a str,
}

impl PreparedStep<'_> {
    /// Records the dispatches into the caller's pass, which must belong to the encoder that the step was
    /// prepared in, or to one submitted after it. Leaves pipeline and bind group 0 of the pass changed.
    pub fn encode(self, pass: &mut ComputePass<'_>) {
        pass.push_debug_group(self.label);
        for window in self.windows {
            pass.set_pipeline(&window.pipeline);
            pass.set_bind_group(0, &window.bind_group, &[]);
            pass.dispatch_workgroups(window.grid.0, window.grid.1, 1);
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
        let mut kept = vec![false; method.slots().len()];
        for (group, label) in groups.iter().zip(&labels) {
            let other = group.method();
            if !same_rule(other, method) {
                let (got, first) = (other.name().into(), method.name().into());
                return Err(Error::MixedRules { group: label.clone(), got, first });
            }
            other.validate().map_err(|refusal| Error::Config { group: label.clone(), refusal })?;
            let mut needs = vec![false; kept.len()];
            other.keeps(&mut needs);
            kept.iter_mut().zip(needs).for_each(|(kept, needs)| *kept |= needs);
        }

        let limits = device.limits();
        let mut layout = slot_layout(method, kept, &limits)?;
        if let Some(most) = options.state_buffers {
            layout.buffers = layout.buffers.min(most.max(1));
        }
        let software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let tile = match options.tile {
            Some(tile) => u64::from(tile.clamp(256, 1 << 20).next_power_of_two()),
            None => tile_for(params.elements(), software),
        };
        // The slots of a window and its table are buffers of their own.
        let (binding, binding_limit) = if limits.max_buffer_size < limits.max_storage_buffer_binding_size {
            (limits.max_buffer_size, "max_buffer_size")
        } else {
            (limits.max_storage_buffer_binding_size, "max_storage_buffer_binding_size")
        };
        let bounds = Bounds {
            binding,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(ELEMENT),
            workgroups: limits.max_compute_workgroups_per_dimension,
            packed_slots: (0..layout.buffers).map(|buffer| layout.slots_in(buffer) as u64).max().unwrap_or(1),
            tile,
        };
        need(method, "bytes of a binding", bounds.smallest_binding(), binding_limit, binding)?;
        let blocks: Vec<_> = params.pairs.iter().map(|pair| pair.block.clone()).collect();
        let Plan { windows, pieces } = plan(&params.spans(), &blocks, params.tensors.len(), bounds, true);

        let label = options.label.clone().unwrap_or_else(|| format!("wgpu-optim: {}", method.name()));
        let row_words = 4 * row_quads(method);
        for window in &windows {
            let size = table_size(window, groups.len(), row_words);
            need(
                method,
                &format!("table of {} groups, in bytes", groups.len()),
                size,
                binding_limit,
                binding,
            )?;
            need(
                method,
                "rows of workgroups",
                window.grid.1.into(),
                "max_compute_workgroups_per_dimension",
                bounds.workgroups.into(),
            )?;
        }
        let wgsl = options.wgsl.as_deref().unwrap_or(method.wgsl());
        let maker = Maker {
            device,
            params,
            method,
            wgsl,
            layout: &layout,
            label: &label,
            groups: &groups,
            row_words,
        };
        let pipelines = guarded(device, method.name(), || maker.pipelines(&windows))?;
        let what = format!("the slots of '{}'", method.name());
        let windows = guarded(device, &what, || {
            let bound = windows.iter().map(|window| maker.bind(window, &pipelines));
            bound.collect::<Result<Vec<_>, Error>>()
        })??;

        Ok(Self {
            device: device.clone(),
            unchecked: vec![false; groups.len()],
            memory: vec![Memory::default(); groups.len()],
            step: 0,
            rows: vec![0; groups.len() * row_words],
            row_words,
            layout,
            windows,
            pieces,
            tensors: params.tensors.iter().map(|tensor| tensor.name.clone()).collect(),
            groups,
            labels,
            label,
        })
    }

    /// Steps taken: recorded by [`step`](Optimizer::step) or [`prepare`](Optimizer::prepare).
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Dispatches of one step: one for each window, that is one for arenas that fit into a binding, and
    /// one for each further pair of buffers; 0 if there is nothing to update.
    pub fn dispatches_per_step(&self) -> usize {
        self.windows.len()
    }

    /// Bytes on the device beyond parameters, gradients and slots: tables, one step's upload, and padding
    /// in the slots. See also [`ParamSet::overhead_bytes`].
    pub fn overhead_bytes(&self) -> u64 {
        let tables: u64 = self.windows.iter().map(|window| window.table.size()).sum();
        let elements: u64 = self.pieces.iter().flatten().map(|piece| piece.len).sum();
        let slots = elements * self.layout.count() as u64 * ELEMENT;
        tables + self.rows.len() as u64 * 4 + self.state_bytes() - slots
    }

    /// Bytes of the slots on the device.
    pub fn state_bytes(&self) -> u64 {
        self.windows.iter().flat_map(|window| &window.state).map(wgpu::Buffer::size).sum()
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
        if prepared.windows.is_empty() {
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
        if !self.windows.is_empty() {
            let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-optim: host scalars"),
                size: bytes,
                usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            // A lost device hands out buffers that cannot be mapped.
            let mut view = staging
                .get_mapped_range_mut(..)
                .map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
            self.write_rows();
            view.copy_from_slice(bytemuck::cast_slice(&self.rows));
            drop(view);
            staging.unmap();
            for window in &self.windows {
                encoder.copy_buffer_to_buffer(&staging, 0, &window.table, QUAD, bytes);
            }
        } else {
            self.write_rows();
        }
        self.step += 1;
        Ok(PreparedStep { windows: &self.windows, label: &self.label })
    }

    /// Checks the groups changed since the last step.
    fn check_changed(&mut self) -> Result<(), Error> {
        for (index, group) in self.groups.iter().enumerate().filter(|(index, _)| self.unchecked[*index]) {
            let label = || self.labels[index].clone();
            let method = group.method();
            method.validate().map_err(|refusal| Error::Config { group: label(), refusal })?;
            if !same_rule(method, self.groups[0].method()) {
                let (got, first) = (method.name().into(), self.groups[0].method().name().into());
                return Err(Error::MixedRules { group: label(), got, first });
            }
            let mut needs = [false; crate::rule::MAX_SLOTS];
            let needs = &mut needs[..self.layout.kept.len()];
            method.keeps(needs);
            if let Some(slot) = (0..needs.len()).find(|slot| needs[*slot] && !self.layout.kept[*slot]) {
                return Err(Error::MissingSlot { group: label(), slot: method.slots()[slot].into() });
            }
        }
        self.unchecked.fill(false);
        Ok(())
    }

    /// The rows of the next step: host scalars in f64, rounded once.
    fn write_rows(&mut self) {
        let mut values = [0f64; MAX_FIELDS];
        let groups =
            self.groups.iter().zip(&mut self.memory).zip(self.rows.chunks_exact_mut(self.row_words.max(1)));
        for ((group, memory), row) in groups {
            let method = group.method();
            let fields = method.fields();
            let values = &mut values[..fields.len()];
            method.host_row(self.step + 1, memory, values);
            for ((word, value), field) in row.iter_mut().zip(values).zip(fields) {
                *word = match field.kind {
                    FieldKind::Real => (*value as f32).to_bits(),
                    FieldKind::Flag => *value as u32,
                };
            }
        }
    }

    /// Records a copy of one slot of a tensor as it is at this point of the encoder.
    ///
    /// # Errors
    /// [`Error::UnknownSlot`], [`Error::UnknownHandle`].
    pub fn download_slot(
        &self,
        encoder: &mut CommandEncoder,
        tensor: TensorId,
        slot: &str,
    ) -> Result<Download, Error> {
        let (index, count) = (tensor.index(), self.tensors.len());
        let pieces = self.pieces.get(index).ok_or(Error::UnknownHandle { what: "tensor", index, count })?;
        let method = self.groups[0].method();
        let place =
            method.slots().iter().position(|name| *name == slot).and_then(|slot| self.layout.place(slot));
        let Some((buffer, rank)) = place else {
            let kept = self.slots().join(", ");
            return Err(Error::UnknownSlot { rule: method.name().into(), slot: slot.into(), kept });
        };
        let parts: Vec<_> = pieces
            .iter()
            .map(|piece| {
                let window = &self.windows[piece.window];
                let at = rank as u64 * window.state_len + piece.state;
                (&window.state[buffer], at * ELEMENT, piece.len * ELEMENT)
            })
            .collect();
        Ok(copy_out(&self.device, encoder, &parts))
    }

    /// The slots that this optimizer allocated, in the order of the rule's `State`.
    pub fn slots(&self) -> Vec<&'static str> {
        let names = self.groups[0].method().slots().iter().zip(&self.layout.kept);
        names.filter(|(_, kept)| **kept).map(|(name, _)| *name).collect()
    }

    /// Reads one slot of a tensor. **Submits and blocks**: for tools and tests; inside an application
    /// record a [`download_slot`](Optimizer::download_slot) and await it.
    ///
    /// # Errors
    /// As [`download_slot`](Optimizer::download_slot), and [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_slot_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: TensorId,
        slot: &str,
    ) -> Result<Vec<f32>, Error> {
        crate::readback::read_blocking(&self.device, queue, |encoder| {
            self.download_slot(encoder, tensor, slot)
        })
    }
}

/// Whether two groups can share a dispatch. Most share the very text, which then needs no comparison.
fn same_rule(a: &dyn Method, b: &dyn Method) -> bool {
    a.name() == b.name() && (std::ptr::eq(a.wgsl(), b.wgsl()) || a.wgsl() == b.wgsl())
}

/// Bytes of a window's table.
fn table_size(window: &Window, groups: usize, row_words: usize) -> u64 {
    QUAD + (groups * row_words * 4 + std::mem::size_of_val(&window.tiles[..])) as u64
}

/// Makes what a window needs on the device.
struct Maker<'a, C> {
    device: &'a wgpu::Device,
    params: &'a ParamSet,
    method: &'a dyn Method,
    wgsl: &'a str,
    layout: &'a SlotLayout,
    label: &'a str,
    groups: &'a [C],
    row_words: usize,
}

impl<C: Config> Maker<'_, C> {
    /// One pipeline for each way of access that a window needs.
    fn pipelines(&self, windows: &[Window]) -> Vec<(Access, wgpu::ComputePipeline)> {
        [Access::Quad, Access::Single]
            .into_iter()
            .filter(|access| windows.iter().any(|window| window.access == *access))
            .map(|access| (access, self.pipeline(access)))
            .collect()
    }

    fn pipeline(&self, access: Access) -> wgpu::ComputePipeline {
        let label = Some(self.label);
        let source =
            wgpu::ShaderSource::Wgsl(compose_with(self.method, self.wgsl, self.layout, access).into());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                // The table and the gradients are only read.
                ty: wgpu::BufferBindingType::Storage { read_only: binding == 0 || binding == 2 },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let bindings = FIRST_STATE_BINDING + self.layout.buffers as u32;
        let entries: Vec<_> = (0..bindings).map(entry).collect();
        let group = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some(ENTRY_POINT),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// A window's table, state buffers and bind group.
    fn bind(&self, window: &Window, pipelines: &[(Access, wgpu::ComputePipeline)]) -> Result<Bound, Error> {
        let pair = &self.params.pairs[window.block];
        let table = self.table(window)?;
        let state = (0..self.layout.buffers)
            .map(|buffer| self.state(window, buffer))
            .collect::<Result<Vec<_>, _>>()?;
        let range = |buffer, range: &std::ops::Range<u64>| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: range.start,
                size: wgpu::BufferSize::new(range.end - range.start),
            })
        };
        let resources =
            [table.as_entire_binding(), range(&pair.param, &window.param), range(&pair.grad, &window.grad)];
        let resources = resources.into_iter().chain(state.iter().map(wgpu::Buffer::as_entire_binding));
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let Some((_, pipeline)) = pipelines.iter().find(|(access, _)| *access == window.access) else {
            unreachable!("pipelines() made one for every window's access");
        };
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.label),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let (state_len, grid) = (window.state, window.grid);
        Ok(Bound { table, state, state_len, pipeline: pipeline.clone(), bind_group, grid })
    }

    /// Header, rows (written at every step) and tiles; see `shaders/frame.wgsl`.
    fn table(&self, window: &Window) -> Result<wgpu::Buffer, Error> {
        let row_quads = self.row_words / 4;
        let tiles_at = 1 + self.groups.len() * row_quads;
        let header =
            [window.tiles.len() as u32, tiles_at as u32, row_quads as u32, (window.state / 4) as u32];
        let size = table_size(window, self.groups.len(), self.row_words);
        self.filled("table", size, BufferUsages::STORAGE | BufferUsages::COPY_DST, |view| {
            view.slice(..QUAD as usize).copy_from_slice(bytemuck::cast_slice(&header));
            view.slice(tiles_at * QUAD as usize..).copy_from_slice(bytemuck::cast_slice(&window.tiles));
        })
    }

    /// One state buffer, its slots at their initial values.
    fn state(&self, window: &Window, buffer: usize) -> Result<wgpu::Buffer, Error> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let slots: Vec<usize> = (0..self.layout.kept.len())
            .filter(|slot| self.layout.place(*slot).is_some_and(|(at, _)| at == buffer))
            .collect();
        let name = format!(
            "slots {}",
            slots.iter().map(|slot| self.method.slots()[*slot]).collect::<Vec<_>>().join(", ")
        );
        let size = slots.len() as u64 * window.state * ELEMENT;
        let initial = |group: u32, slot: usize| {
            let mut values = [0f32; crate::rule::MAX_SLOTS];
            self.groups[group as usize].method().initial(&mut values[..self.layout.kept.len()]);
            values[slot]
        };
        let all_zero =
            (0..self.groups.len() as u32).all(|group| slots.iter().all(|slot| initial(group, *slot) == 0.0));
        if all_zero {
            // wgpu hands out zeroed buffers.
            return Ok(self.buffer(&name, size, usage, false));
        }
        self.filled(&name, size, usage, |view| {
            for (rank, slot) in slots.iter().enumerate() {
                for tile in &window.tiles {
                    let start = (rank as u64 * window.state + u64::from(tile.state)) * ELEMENT;
                    let values = vec![initial(tile.group, *slot); tile.count as usize];
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
