//! The executor of a part of a model's step, in stages: between two of them the host brings the terms of all parts together.

use super::objects::Objects;
use super::optimizer::{Optimizer, PreparedStep};
use crate::error::Error;
use crate::program::{Exchange, Slice};
use crate::rule::Config;
use wgpu::{BufferSlice, CommandEncoder, ComputePass};

/// A step of a part ([`Program::part`](crate::program::Program::part)) whose host scalars are recorded.
///
/// Stage 0 is encoded and submitted first. Before stage i the host copies what [`exchange`](PreparedPart::exchange)`(i - 1)`
/// says, from all parts into each. Nothing happens that is not encoded, and a step that was begun has to be ended.
#[derive(Debug)]
#[must_use = "a prepared step does nothing until it is encoded into compute passes"]
pub struct PreparedPart<'a> {
    step: PreparedStep<'a>,
    objects: &'a Objects,
    exchanges: &'a [Exchange],
}

impl PreparedPart<'_> {
    /// How many stages the step has: one more than exchanges.
    pub fn stages(&self) -> usize {
        self.exchanges.len() + 1
    }

    /// Records the dispatches of a stage; none for one that there is not.
    pub fn encode(&self, stage: usize, pass: &mut ComputePass<'_>) {
        let before = |stage: usize| self.exchanges.get(stage).map(|exchange| exchange.before as usize);
        let first = stage.checked_sub(1).map_or(Some(0), before);
        let last = before(stage).unwrap_or(self.step.dispatches());
        if let Some(first) = first {
            self.step.encode_some(first..last, pass);
        }
    }

    /// Between stage i and the next: the terms of this part, tile by tile in the order of
    /// [`Part::own`](crate::program::Part::own), and where those of all tiles of the model go, in the order of
    /// [`Part::tiles`](crate::program::Part::tiles). Both are ranges of one buffer, which copies reach.
    pub fn exchange(&self, i: usize) -> Option<(BufferSlice<'_>, BufferSlice<'_>)> {
        let range = |slice: &Slice| {
            let buffer = &self.objects.buffers[slice.buffer as usize];
            buffer.slice(slice.offset..slice.offset + slice.size)
        };
        self.exchanges.get(i).map(|exchange| (range(&exchange.own), range(&exchange.all)))
    }
}

impl<C: Config> Optimizer<C> {
    /// As [`prepare`](Optimizer::prepare), of a part of a model, whose step has stages.
    ///
    /// ```no_run
    /// # use wgpu_optim::{Error, Optimizer, rules::GClip, wgpu};
    /// # fn f(device: &wgpu::Device, queue: &wgpu::Queue, optimizer: &mut Optimizer<GClip>) -> Result<(), Error> {
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let step = optimizer.prepare_part(&mut encoder)?;
    /// for stage in 0..step.stages() {
    ///     step.encode(stage, &mut encoder.begin_compute_pass(&Default::default()));
    ///     queue.submit([std::mem::replace(&mut encoder, device.create_command_encoder(&Default::default())).finish()]);
    ///     if let Some((own, all)) = step.exchange(stage) {
    ///         // Send `own` to all other parts, and write what all sent into `all`.
    ///         # let _ = (own, all);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`step`](Optimizer::step).
    pub fn prepare_part(&mut self, encoder: &mut CommandEncoder) -> Result<PreparedPart<'_>, Error> {
        let record = self.begin_step(encoder)?;
        let exchanges = self.program.part.as_ref().map_or(&[][..], |part| &part.exchanges);
        Ok(PreparedPart { step: self.prepared(record), objects: &self.objects, exchanges })
    }
}
