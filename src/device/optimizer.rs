//! The executor: host scalars up, the same few dispatches every step, nothing back that anybody waits for.

use super::count::CountReader;
use super::objects::{Dispatch, Objects};
use super::params::{GroupId, ParamSet, TensorId};
use super::scope::Watch;
use crate::error::Error;
use crate::program::{Clock, Limits, Options, Program, Write};
use crate::rule::Config;
use crate::wrappers::Wrappers;
use wgpu::{CommandEncoder, ComputePass};

/// An optimizer of one rule over all groups of a [`ParamSet`]: one dispatch a step (and window).
///
/// `C` is a rule's configuration ([`Adam`](crate::rules::Adam), …) or
/// [`AnyRule`](crate::AnyRule); there is one value for each group.
#[derive(Debug)]
pub struct Optimizer<C> {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) program: Program,
    pub(super) clock: Clock<C>,
    pub(super) objects: Objects,
    pub(super) counts: Option<CountReader>,
    /// The parameter set whose handles are known.
    pub(super) set: u64,
    pub(super) watch: Watch,
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
        self.encode_some(0..self.dispatches(), pass);
    }

    pub(super) fn dispatches(&self) -> usize {
        self.dispatches.len()
    }

    /// Some of the dispatches.
    pub(super) fn encode_some(&self, which: std::ops::Range<usize>, pass: &mut ComputePass<'_>) {
        pass.push_debug_group(self.label);
        for dispatch in &self.dispatches[which] {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[self.record]);
            pass.dispatch_workgroups(dispatch.workgroups[0], dispatch.workgroups[1], 1);
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
    /// is too small, [`Error::Rule`] and [`Error::Refused`] for a rule that asks for too much or does not compile,
    /// [`Error::OutOfMemory`], and [`Error::OtherDevice`] for parameters of another device. In a browser what WebGPU itself
    /// refuses reaches the host's uncaptured-error handler instead, since it answers later. wgpu does not say which device a
    /// queue or an encoder belongs to: one of another device is refused by wgpu's own validation, at its first use.
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
        let groups: Vec<C> = groups.into_iter().collect();
        if params.device != *device {
            return Err(Error::OtherDevice { what: "parameters" });
        }
        let program = Program::new(&params.tensors, &groups, options, &Limits::of(device))?;
        Self::of_program(device, queue, params, program, groups, options.wrappers)
    }

    /// An optimizer that runs a program made before, for these parameters: one that was read from a file, for example.
    ///
    /// # Errors
    /// [`Error::Program`] for a program that was made for other tensors, another rule or other wrappers, or needs more
    /// than the device allows; otherwise as [`new`](Optimizer::new).
    pub fn of_program(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        params: &ParamSet,
        program: Program,
        groups: impl IntoIterator<Item = C>,
        wrappers: Wrappers,
    ) -> Result<Self, Error> {
        if params.device != *device {
            return Err(Error::OtherDevice { what: "parameters" });
        }
        program.check()?;
        program.check_fits(&params.tensors, &Limits::of(device))?;
        let clock = Clock::new(&program, groups, wrappers)?;
        let objects = Objects::new(device, &program, &params.buffers)?;
        let counts = CountReader::of(device, &program);
        Ok(Self {
            device: device.clone(),
            queue: queue.clone(),
            program,
            clock,
            objects,
            counts,
            set: params.set,
            watch: Watch::new(device),
        })
    }

    /// The step as data: what this optimizer made on its device and runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Steps recorded by [`step`](Optimizer::step) or [`prepare`](Optimizer::prepare), also those that are never submitted
    /// or that the device skips. The device counts for itself those that it takes, which is what bias corrections and
    /// everything else follow that depends on a number of steps.
    pub fn steps(&self) -> u64 {
        self.clock.recorded()
    }

    /// How many steps may be recorded ahead of the last submit, at least, if each of them changes some setting. Beyond
    /// that, the host scalars of the oldest ones are overwritten before they are used; [`Options::steps_ahead`] makes room
    /// for more. As many may be skipped, or never be submitted, before the device's count of steps is read again, for which
    /// the host polls the device, submits, or lets the page's event loop run; where steps may be skipped, more are
    /// [`Error::StepsAhead`].
    pub fn steps_ahead(&self) -> usize {
        self.clock.steps_ahead()
    }

    /// The numbers of what stands around the rule, to change: they count from the next step on, which checks them. What
    /// is off cannot be switched on, nor what is on off.
    pub fn wrappers_mut(&mut self) -> &mut Wrappers {
        self.clock.wrappers_mut()
    }

    /// Dispatches of one step, whatever the number of groups and tensors: one for each window, that is one
    /// for arenas that fit into a binding, and one for each further pair of buffers; 0 if there is nothing
    /// to update. A rule with factored slots averages rows and columns
    /// of matrices first, with one more for each window and two (and one more for each window where those of some tensor lie
    /// apart).
    /// Clipping by norm or skipping, a rule with reductions, and a cautious optimizer reduce first:
    /// one dispatch more for each window and one that combines, for each of the three. A rule with device scalars needs
    /// one more for them.
    pub fn dispatches_per_step(&self) -> usize {
        self.program.passes.len()
    }

    /// The configuration of a group.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`].
    pub fn group(&self, group: GroupId) -> Result<&C, Error> {
        let known = self.clock.groups().get(group.index).filter(|_| group.set == self.set);
        known.ok_or_else(|| self.unknown_group(group))
    }

    /// The configuration of a group, to change: it counts from the next step on, which checks it.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`].
    pub fn group_mut(&mut self, group: GroupId) -> Result<&mut C, Error> {
        let unknown = self.unknown_group(group);
        if group.set != self.set {
            return Err(unknown);
        }
        self.clock.group_mut(group.index).ok_or(unknown)
    }

    fn unknown_group(&self, group: GroupId) -> Error {
        let (index, count) = (group.index, self.clock.groups().len());
        Error::UnknownHandle { what: "group", index, count }
    }

    /// Leaves a tensor out of the next step, as PyTorch does with a parameter whose gradient is None: no decay, no momentum, no
    /// part in a norm, and no step of its own count. Its gradient is not read, nor zeroed. Whoever wants a tensor to rest for
    /// longer says so before each step.
    ///
    /// ```no_run
    /// # use wgpu_optim::{Error, Optimizer, Options, ParamSet, TensorId, rules::Adam, wgpu};
    /// # fn f(device: &wgpu::Device, queue: &wgpu::Queue, params: &ParamSet, unused: TensorId) -> Result<(), Error> {
    /// let mut options = Options::default();
    /// options.own_steps = true;
    /// let mut optimizer = Optimizer::with_options(device, queue, params, [Adam::adamw()], &options)?;
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.skip(unused)?; // whose gradient nothing wrote this time
    /// optimizer.step(&mut encoder)?;
    /// # Ok(()) }
    /// ```
    ///
    /// A step that converts weights ([`Rule::evaluates`](crate::rule::Rule::evaluates)) leaves nobody out; the one after it does.
    ///
    /// # Errors
    /// [`Error::WithoutOption`] without [`Options::own_steps`], [`Error::UnknownHandle`].
    pub fn skip(&mut self, tensor: TensorId) -> Result<(), Error> {
        self.clock.skip(self.index_of(tensor)?)
    }

    /// The place of a tensor among those of the program.
    pub(super) fn index_of(&self, tensor: TensorId) -> Result<usize, Error> {
        let count = self.program.tensors.len();
        let known = tensor.set == self.set && tensor.index < count;
        known.then_some(tensor.index).ok_or(Error::UnknownHandle {
            what: "tensor",
            index: tensor.index,
            count,
        })
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
    /// As [`step`](Optimizer::step); [`Error::Program`] for a part of a model whose step has stages
    /// ([`prepare_part`](Optimizer::prepare_part)).
    pub fn prepare(&mut self, encoder: &mut CommandEncoder) -> Result<PreparedStep<'_>, Error> {
        if self.program.part.as_ref().is_some_and(|part| !part.exchanges.is_empty()) {
            let reason =
                "it is a part of a model whose terms come together between passes: prepare_part is for those";
            return Err(Error::Program { reason: reason.into() });
        }
        let record = self.begin_step(encoder)?;
        Ok(self.prepared(record))
    }

    /// A step whose host scalars are written.
    pub(super) fn prepared(&self, record: u32) -> PreparedStep<'_> {
        PreparedStep { dispatches: &self.objects.dispatches, record, label: &self.program.label }
    }

    /// Writes a step's host scalars; the byte of its record.
    pub(super) fn begin_step(&mut self, encoder: &mut CommandEncoder) -> Result<u32, Error> {
        self.watch.check()?;
        if let Some((step, words)) = self.counts.as_mut().and_then(CountReader::answer) {
            self.clock.observe(step, &words);
        }
        let (wanted, number) = (self.clock.wants_count(), self.clock.recorded());
        let next = self.clock.next_step();
        if let Some(counts) = self.counts.as_mut().filter(|_| wanted)
            && matches!(next, Ok(_) | Err(Error::StepsAhead { .. }))
        {
            counts.ask(encoder, &self.objects.buffers, number);
        }
        let next = next?;
        let write = |write: Write<'_>| {
            let Some(size) = wgpu::BufferSize::new(write.bytes.len() as u64) else { return true };
            let buffer = &self.objects.buffers[write.buffer as usize];
            let view = self.queue.write_buffer_with(buffer, write.offset, size);
            view.map(|mut view| view.copy_from_slice(write.bytes)).is_some()
        };
        if !next.writes().all(write) {
            next.abandon();
            return Err(Error::DeviceLost { reason: "it takes no host scalars".into() });
        }
        Ok(next.record())
    }
}
