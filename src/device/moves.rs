//! Takes a run over to another set of tensors: rows pruned, cloned and put in another order, tensors added and removed, all of
//! it on the device.

use super::count::CountReader;
use super::objects::{make_layout, make_pipeline};
use super::optimizer::Optimizer;
use super::params::{BufferRange, ParamSet};
use super::scope::guarded;
use crate::error::Error;
use crate::program::{ELEMENT, Limits, Slice};
use crate::rule::Config;
use crate::state::{Bound, Change, GATHER_LAYOUT, Gather, List, Moves, Side, Taken};
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, BufferBinding, BufferSize, BufferUsages,
    CommandEncoder, ComputePipeline,
};

const LABEL: &str = "wgpu-optim: take over";

/// How a set of tensors differs from the one before, where names and shapes do not say it.
///
/// Rows are those of the first dimension. A list names for each new row the old one that it takes over; the same one may be named
/// any number of times. [`FRESH`](crate::state::FRESH) added to it: with slots as at the start, as for a clone;
/// [`NONE`](crate::state::NONE): nothing, for a row that the host writes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    changes: Vec<Change>,
    lists: Vec<BufferRange>,
}

impl Changes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// `tensor` takes over these rows of the tensor of the same name.
    pub fn rows(&mut self, tensor: &str, rows: impl Into<Vec<u32>>) -> &mut Self {
        self.rows_of(tensor, tensor, rows)
    }

    /// `tensor` takes over these rows of `from`.
    pub fn rows_of(&mut self, tensor: &str, from: &str, rows: impl Into<Vec<u32>>) -> &mut Self {
        self.take(tensor, from, List::Rows(rows.into()))
    }

    /// `tensor` takes over the rows of `from` that a list on the device names: as many `u32` as `tensor` has rows, in a
    /// buffer with `STORAGE` that does not change before the encoder is submitted. Nobody checks it: what is not there is taken
    /// as [`NONE`](crate::state::NONE). The offset is a multiple of what the device wants of a storage binding.
    pub fn rows_on_device(&mut self, tensor: &str, from: &str, list: BufferRange) -> &mut Self {
        let known =
            self.lists.iter().position(|own| (&own.buffer, own.offset) == (&list.buffer, list.offset));
        let number = known.unwrap_or_else(|| {
            self.lists.push(list);
            self.lists.len() - 1
        });
        self.take(tensor, from, List::OnDevice(number))
    }

    /// `tensor` starts as in a new optimizer, though there was one of its name and shape.
    pub fn anew(&mut self, tensor: &str) -> &mut Self {
        self.changes.push(Change { tensor: tensor.into(), from: None });
        self
    }

    fn take(&mut self, tensor: &str, from: &str, rows: List) -> &mut Self {
        let from = Some(Taken { tensor: from.into(), rows });
        self.changes.push(Change { tensor: tensor.into(), from });
        self
    }
}

impl<C: Config> Optimizer<C> {
    /// Goes on where `old` is at this point of the encoder, with another set of tensors: those of the same name and shape are
    /// taken over, and those that `changes` name; the others start as in a new optimizer. Parameters, gradients and all slots
    /// are copied on the device, rows by a dispatch for each pair of buffers. Configurations, counts of steps, loss scale and
    /// whatever else the run goes on with become those of `old`, which stays as it is: drop it once the encoder is submitted.
    ///
    /// Steps of `old` that were recorded and not submitted go on to count, if they are submitted before this encoder. Where rows
    /// may rest, masks start with every row acting, and counts of rows go with the rows.
    ///
    /// ```no_run
    /// # use wgpu_optim::{BufferRange, Changes, Error, Optimizer, ParamSet, rules::Adam, wgpu};
    /// # fn f(device: &wgpu::Device, queue: &wgpu::Queue, old: (&Optimizer<Adam>, &ParamSet), keep: Vec<u32>) -> Result<(), Error> {
    /// let mut params = ParamSet::builder();
    /// let all = params.group("all");
    /// params.tensor("means", [keep.len(), 3], all);
    /// params.tensor("colours", [keep.len(), 48], all);
    /// let params = params.build(device)?;
    /// let mut optimizer = Optimizer::new(device, queue, &params, [Adam::default()])?;
    ///
    /// let mut changes = Changes::new();
    /// changes.rows("means", keep.clone()).rows("colours", keep);
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.take_over(&mut encoder, &params, old, &changes)?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::State`], naming every difference: another rule, wrappers or groups, a tensor of another shape that `changes` does not
    /// name, a list of another length or with rows that are not there, rows of a tensor with factored slots, whose averages hold
    /// only for the rows that they were made of; a list or buffer of the host's without the usage that it needs (`COPY_SRC` and
    /// `COPY_DST`; `STORAGE` for a list), a list too short or misaligned, rows to be moved inside one buffer, parameters of
    /// another optimizer. [`Error::OtherDevice`], [`Error::Limit`], [`Error::Refused`], [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`]. Nothing was recorded or changed then.
    pub fn take_over(
        &mut self,
        encoder: &mut CommandEncoder,
        params: &ParamSet,
        old: (&Self, &ParamSet),
        changes: &Changes,
    ) -> Result<(), Error> {
        self.watch.check()?;
        let (old, old_params) = old;
        if old.device != self.device {
            return Err(Error::OtherDevice { what: "the optimizer to take over" });
        }
        if (self.set, old.set) != (params.set, old_params.set) {
            return Err(refused("these parameters are not those that the optimizers were made for".into()));
        }
        let limits = Limits::of(&self.device);
        let (moves, clock) = {
            let before = Side { program: &old.program, tensors: &old_params.tensors };
            let after = Side { program: &self.program, tensors: &params.tensors };
            Moves::between((before, &old.clock), (after, &self.clock), &changes.changes, &limits)?
        };
        let copies = self.copies_of(old, &moves)?;
        check_lists(&moves, &changes.lists, &limits)?;
        let passes =
            guarded(&self.device, "what moves rows", || self.passes_of(old, &moves, &changes.lists))?;
        for (from, to) in copies {
            let (source, target) = (old.buffer(from), self.buffer(to));
            encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.size);
        }
        if !passes.is_empty() {
            let descriptor = wgpu::ComputePassDescriptor { label: Some(LABEL), timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            for ((pipeline, group), gather) in passes.iter().zip(&moves.passes) {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(gather.workgroups[0], gather.workgroups[1], 1);
            }
        }
        self.clock = clock;
        self.counts = CountReader::of(&self.device, &self.program);
        Ok(())
    }

    fn buffer(&self, slice: &Slice) -> &wgpu::Buffer {
        &self.objects.buffers[slice.buffer as usize]
    }

    /// The copies that have to be made: what stays in its place in a buffer of the host's needs none.
    fn copies_of<'a>(&self, old: &Self, moves: &'a Moves) -> Result<Vec<(&'a Slice, &'a Slice)>, Error> {
        let stays =
            |from: &Slice, to: &Slice| (old.buffer(from), from.offset) == (self.buffer(to), to.offset);
        let copies = moves.copies.iter().map(|(from, to)| (from, to)).filter(|(from, to)| !stays(from, to));
        let copies: Vec<_> = copies.collect();
        let of_passes = moves.passes.iter().map(|pass| (&pass.from, &pass.to));
        let of_copies = copies.iter().copied();
        let kinds = [
            (BufferUsages::STORAGE, BufferUsages::STORAGE, of_passes.collect::<Vec<_>>()),
            (BufferUsages::COPY_SRC, BufferUsages::COPY_DST, of_copies.collect()),
        ];
        for (read, written, pairs) in kinds {
            for (from, to) in pairs {
                let (source, target) = (old.buffer(from), self.buffer(to));
                if source == target {
                    return Err(refused(
                        "rows cannot be moved inside a buffer: the new ones need another".into(),
                    ));
                }
                for (buffer, needed) in [(source, read), (target, written)] {
                    if !buffer.usage().contains(needed) {
                        let usage = buffer.usage();
                        return Err(refused(format!(
                            "a buffer to move has usages {usage:?}, but {needed:?} is needed"
                        )));
                    }
                }
            }
        }
        Ok(copies)
    }

    /// A pipeline and a bind group for each pass.
    fn passes_of(
        &self,
        old: &Self,
        moves: &Moves,
        lists: &[BufferRange],
    ) -> Vec<(ComputePipeline, BindGroup)> {
        let (device, label) = (&self.device, Some(LABEL));
        let layout = make_layout(device, label, &GATHER_LAYOUT);
        let mut made: Vec<(&str, ComputePipeline)> = vec![];
        let mut pipeline = |gather: &Gather| {
            if let Some((_, known)) = made.iter().find(|(text, _)| *text == gather.wgsl) {
                return known.clone();
            }
            made.push((gather.wgsl, make_pipeline(device, &gather.module(), &layout)));
            made[made.len() - 1].1.clone()
        };
        let filled = |bytes: &[u8]| {
            device.create_buffer_init(&BufferInitDescriptor {
                label,
                contents: bytes,
                usage: BufferUsages::STORAGE,
            })
        };
        let own = filled(bytemuck::cast_slice(if moves.lists.is_empty() { &[0] } else { &moves.lists }));
        let chunks: Vec<_> =
            moves.passes.iter().map(|gather| filled(bytemuck::cast_slice(&gather.chunks))).collect();
        let group = |(gather, chunks): (&Gather, &wgpu::Buffer)| {
            let list = match gather.list {
                Bound::Lists(offset, size) => bound(&own, offset, size),
                Bound::OnDevice(number) => {
                    let BufferRange { buffer, offset } = &lists[number];
                    bound(buffer, *offset, gather.rows * ELEMENT)
                }
            };
            let entries = [
                bound(chunks, 0, chunks.size()),
                list,
                bound(old.buffer(&gather.from), gather.from.offset, gather.from.size),
                bound(self.buffer(&gather.to), gather.to.offset, gather.to.size),
            ];
            let entries = (0..).zip(entries).map(|(binding, resource)| BindGroupEntry { binding, resource });
            let entries: Vec<_> = entries.collect();
            let descriptor = BindGroupDescriptor { label, layout: &layout, entries: &entries };
            (pipeline(gather), device.create_bind_group(&descriptor))
        };
        moves.passes.iter().zip(&chunks).map(group).collect()
    }
}

/// Refuses lists on the device that cannot be bound.
fn check_lists(moves: &Moves, lists: &[BufferRange], limits: &Limits) -> Result<(), Error> {
    for gather in &moves.passes {
        let Bound::OnDevice(number) = gather.list else { continue };
        let BufferRange { buffer, offset } = &lists[number];
        let (size, bytes) = (buffer.size(), gather.rows * ELEMENT);
        if !buffer.usage().contains(BufferUsages::STORAGE) {
            return Err(refused(format!(
                "a list of rows has usages {:?}, but STORAGE is needed",
                buffer.usage()
            )));
        }
        if offset.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(refused(format!(
                "a list of rows has {size} bytes, but {bytes} are needed from byte {offset} on"
            )));
        }
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
        if !offset.is_multiple_of(alignment) {
            return Err(refused(format!(
                "a list of rows starts at byte {offset}, which is not a multiple of {alignment}"
            )));
        }
    }
    Ok(())
}

fn bound(buffer: &wgpu::Buffer, offset: u64, size: u64) -> BindingResource<'_> {
    BindingResource::Buffer(BufferBinding { buffer, offset, size: BufferSize::new(size) })
}

fn refused(reason: String) -> Error {
    Error::State { reason }
}
