//! Keeps what was read back last, without waiting for it: what a run goes on from when its device is lost.

use super::optimizer::Optimizer;
use super::params::ParamSet;
use super::state::StateDownload;
use crate::error::Error;
use crate::rule::Config;
use crate::state::OptimizerState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wgpu::CommandEncoder;

/// The last state that was read back, parameters included, renewed every so many steps. Nobody waits for it: it arrives when
/// the host polls the device, submits, or lets the page's event loop run, and the one before stays until then.
///
/// ```no_run
/// # use wgpu_optim::{Error, Optimizer, ParamSet, Snapshots, rules::Adam, wgpu};
/// # fn f(device: &wgpu::Device, queue: &wgpu::Queue, params: &ParamSet, optimizer: &mut Optimizer<Adam>) -> Result<(), Error> {
/// let mut snapshots = Snapshots::every(1000);
/// for _ in 0..5000 {
///     let mut encoder = device.create_command_encoder(&Default::default());
///     optimizer.step(&mut encoder)?;
///     snapshots.record(optimizer, params, &mut encoder)?;
///     queue.submit([encoder.finish()]);
/// }
/// if let Some(state) = snapshots.latest() {
///     println!("as of step {}", state.recorded());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Snapshots {
    every: u64,
    /// Steps that had been recorded at the last one.
    last: u64,
    awaited: Option<Awaited>,
    latest: Option<OptimizerState>,
}

/// A state on its way.
#[derive(Debug)]
struct Awaited {
    download: StateDownload,
    answers: Arc<Answers>,
}

/// How many of a download's buffers are still to be mapped, and whether one never will.
#[derive(Debug, Default)]
pub(super) struct Answers {
    awaited: AtomicUsize,
    failed: AtomicBool,
}

impl Answers {
    /// For one more buffer; to be given to the encoder.
    pub fn question(self: &Arc<Self>) -> Question {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Question { answers: self.clone(), mapped: false }
    }
}

/// Dropped with an encoder that is never submitted.
pub(super) struct Question {
    answers: Arc<Answers>,
    mapped: bool,
}

impl Question {
    pub fn answer(mut self, mapped: bool) {
        self.mapped = mapped;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.mapped {
            self.answers.failed.store(true, Ordering::Relaxed);
        }
        self.answers.awaited.fetch_sub(1, Ordering::Release);
    }
}

impl Snapshots {
    /// None yet; one every so many steps, at least 1. Each takes the memory of state and parameters once on the device until it
    /// has arrived, and on the host.
    pub fn every(steps: u64) -> Self {
        Self { every: steps.max(1), last: 0, awaited: None, latest: None }
    }

    /// After a step was recorded into `encoder`: records a copy if it is time and none is awaited; whether it did.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for parameters of another optimizer, [`Error::Buffer`] for a buffer of the host's without
    /// `COPY_SRC`.
    pub fn record<C: Config>(
        &mut self,
        optimizer: &Optimizer<C>,
        params: &ParamSet,
        encoder: &mut CommandEncoder,
    ) -> Result<bool, Error> {
        self.arrive();
        let recorded = optimizer.steps();
        // A run that started again, or goes on from a snapshot, has a smaller number.
        let since = recorded.checked_sub(self.last).unwrap_or(self.every);
        if self.awaited.is_some() || since < self.every {
            return Ok(false);
        }
        let download = optimizer.download_checkpoint(encoder, params)?;
        let answers = Arc::new(Answers::default());
        download.map_on_submit(encoder, &answers);
        (self.awaited, self.last) = (Some(Awaited { download, answers }), recorded);
        Ok(true)
    }

    /// The last one that has arrived.
    pub fn latest(&mut self) -> Option<&OptimizerState> {
        self.arrive();
        self.latest.as_ref()
    }

    /// Takes what has arrived. One whose encoder was dropped, or whose device was lost, never does.
    fn arrive(&mut self) {
        let is_there = |awaited: &mut Awaited| awaited.answers.awaited.load(Ordering::Acquire) == 0;
        let Some(Awaited { download, answers }) = self.awaited.take_if(is_there) else { return };
        if answers.failed.load(Ordering::Relaxed) {
            // The next step is early enough for another.
            self.last = 0;
            return;
        }
        self.latest = download.mapped().ok().or(self.latest.take());
    }
}
