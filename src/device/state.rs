//! Saves what a run goes on with, and puts it onto a device: this one, or another after this was lost.

use super::count::CountReader;
use super::optimizer::Optimizer;
use super::params::{GroupId, ParamSet, TensorId};
use super::readback::Download;
use super::snapshots::Answers;
use crate::error::Error;
use crate::program::{Slice, Tensor};
use crate::rule::Config;
use crate::state::{OptimizerState, Unread};
use futures::future::join_all;
use std::sync::Arc;
use wgpu::CommandEncoder;

/// A state on its way to the host.
#[derive(Debug)]
#[must_use = "submit the encoder, then await read()"]
pub struct StateDownload {
    download: Download,
    /// As everything was when the copy was recorded.
    unread: Unread,
    params: Vec<(String, Download)>,
}

/// Of a tensor's two ranges, one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Param,
    Grad,
}

impl StateDownload {
    /// The state. Await this after the encoder was submitted; natively somebody has to poll the device meanwhile.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn read(self) -> Result<OptimizerState, Error> {
        // All mappings are asked for before the first is awaited: one poll of the device answers them.
        let (names, params): (Vec<String>, Vec<Download>) = self.params.into_iter().unzip();
        let params = join_all(params.into_iter().map(Download::read));
        let (own, params) = futures::join!(self.download.read(), params);
        assemble(self.unread, own?, names.into_iter().zip(params))
    }

    /// Has everything mapped when the encoder is submitted.
    pub(super) fn map_on_submit(&self, encoder: &mut CommandEncoder, answers: &Arc<Answers>) {
        self.download.map_on_submit(encoder, answers);
        self.params.iter().for_each(|(_, download)| download.map_on_submit(encoder, answers));
    }

    /// The state, once everything is mapped.
    pub(super) fn mapped(self) -> Result<OptimizerState, Error> {
        let params = self.params.into_iter().map(|(name, download)| (name, download.mapped()));
        assemble(self.unread, self.download.mapped()?, params)
    }
}

/// A state of what was read.
fn assemble(
    unread: Unread,
    own: Vec<f32>,
    params: impl Iterator<Item = (String, Result<Vec<f32>, Error>)>,
) -> Result<OptimizerState, Error> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    let mut state = unread.read(&bits(own))?;
    for (name, values) in params {
        state.insert(&name, bits(values?))?;
    }
    Ok(state)
}

impl<C: Config> Optimizer<C> {
    /// Records a copy of everything that the run goes on with, as it is at this point of the encoder: every slot, count and
    /// scalar; not the parameters. Record it where every step that was recorded so far comes before it.
    ///
    /// ```no_run
    /// # use wgpu_optim::{Error, Optimizer, rules::Adam, wgpu};
    /// # async fn f(device: &wgpu::Device, queue: &wgpu::Queue, optimizer: &mut Optimizer<Adam>) -> Result<(), Error> {
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let download = optimizer.download_state(&mut encoder);
    /// queue.submit([encoder.finish()]);
    /// let state = download.read().await?; // natively while somebody polls the device
    /// optimizer.load_state(&state)?; // this optimizer, or another of the same rule and tensors
    /// # Ok(()) }
    /// ```
    pub fn download_state(&self, encoder: &mut CommandEncoder) -> StateDownload {
        let kept = OptimizerState::kept(&self.program);
        let slices: Vec<Slice> = kept.iter().flat_map(|words| words.slices.iter().copied()).collect();
        StateDownload {
            download: self.copy(encoder, &slices),
            unread: Unread::new(&self.program, &self.clock, &kept),
            params: vec![],
        }
    }

    /// As [`download_state`](Optimizer::download_state), with the parameters, as `param/<name>`; and with the gradients
    /// (`grad/<name>`), where a sum of micro-batches may be in them.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another set of parameters than the optimizer's, [`Error::Buffer`] for a buffer of the
    /// host's without `COPY_SRC`.
    pub fn download_checkpoint(
        &self,
        encoder: &mut CommandEncoder,
        params: &ParamSet,
    ) -> Result<StateDownload, Error> {
        let mut state = self.download_state(encoder);
        for (name, id, role) in self.beside_state(params) {
            let download = match role {
                Role::Param => params.download_param(encoder, id)?,
                Role::Grad => params.download_grad(encoder, id)?,
            };
            state.params.push((name, download));
        }
        Ok(state)
    }

    /// What a checkpoint has beside the state, by name: parameters, and gradients where a sum of micro-batches may be in them.
    pub(super) fn beside_state(&self, params: &ParamSet) -> Vec<(String, TensorId, Role)> {
        let gradients = self.clock.wrappers().grad_accumulation_steps.is_some();
        let roles = [(Role::Param, "param"), (Role::Grad, "grad")];
        let roles = &roles[..if gradients { 2 } else { 1 }];
        let of_tensor = |(index, tensor): (usize, &Tensor)| {
            let (id, name) = (TensorId { set: self.set, index }, tensor.name.clone());
            roles.iter().map(move |(role, room)| (format!("{room}/{name}"), id, *role))
        };
        params.tensors().iter().enumerate().flat_map(of_tensor).collect()
    }

    /// Goes on from a state: everything of it is written through the queue, before the next submit. Steps that were recorded
    /// and not submitted are to be dropped. The numbers of groups and wrappers become those of the state.
    ///
    /// # Errors
    /// [`Error::State`], naming every difference: another rule, other options, wrappers, groups, tensors or shapes. Nothing was
    /// changed then. [`Error::DeviceLost`].
    pub fn load_state(&mut self, state: &OptimizerState) -> Result<(), Error> {
        self.load(state, true).map(drop)
    }

    /// As [`load_state`](Optimizer::load_state), for what fits; the rest stays as it is, and is listed.
    ///
    /// # Errors
    /// [`Error::State`] of another rule or other wrappers, [`Error::DeviceLost`].
    pub fn load_what_fits(&mut self, state: &OptimizerState) -> Result<Vec<String>, Error> {
        self.load(state, false)
    }

    fn load(&mut self, state: &OptimizerState, strict: bool) -> Result<Vec<String>, Error> {
        self.watch.check()?;
        let restored = state.restore(&self.program, &mut self.clock, strict)?;
        for (slice, words) in &restored.writes {
            self.write_words(slice, words);
        }
        self.forget_count();
        Ok(restored.left)
    }

    pub(super) fn write_words(&self, slice: &Slice, words: &[u32]) {
        let buffer = &self.objects.buffers[slice.buffer as usize];
        self.queue.write_buffer(buffer, slice.offset, bytemuck::cast_slice(words));
    }

    /// A reading that is still awaited is of the steps before.
    pub(super) fn forget_count(&mut self) {
        self.counts = CountReader::of(&self.device, &self.program);
    }

    /// Starts again, as a new optimizer would, with the parameters, options and rates as they are: for warm restarts. Everything is
    /// written through the queue, before the next submit.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.watch.check()?;
        for slice in self.program.persistent().iter().flat_map(|words| &words.slices) {
            self.write_words(slice, &self.program.first_words(slice));
        }
        self.clock.restart();
        self.forget_count();
        Ok(())
    }

    /// Starts some tensors anew, with the parameters as they are: slots as before the first step, and no step taken. For new
    /// layers, and for warm restarts of a part. Everything is written through the queue, before the next submit: steps that
    /// were recorded and not submitted come after it.
    ///
    /// # Errors
    /// [`Error::WithoutOption`] without [`Options::own_steps`](crate::Options::own_steps): bias corrections of a step count that goes
    /// on would not fit slots that start anew. [`Error::UnknownHandle`], [`Error::DeviceLost`]. Nothing was changed then.
    pub fn reset_tensors(&mut self, tensors: &[TensorId]) -> Result<(), Error> {
        self.watch.check()?;
        let indices = tensors.iter().map(|tensor| self.index_of(*tensor)).collect::<Result<Vec<_>, _>>()?;
        for index in indices {
            self.clock.start_anew(index)?;
            for slice in self.program.of_tensor(index) {
                self.write_words(&slice, &self.program.first_words(&slice));
            }
        }
        self.forget_count();
        Ok(())
    }

    /// Starts the tensors of a group anew; see [`reset_tensors`](Optimizer::reset_tensors).
    ///
    /// # Errors
    /// As [`reset_tensors`](Optimizer::reset_tensors).
    pub fn reset_group(&mut self, group: GroupId) -> Result<(), Error> {
        self.group(group)?;
        let own = self.program.tensors.iter().enumerate();
        let own = own.filter(|(_, tensor)| tensor.group as usize == group.index);
        let own: Vec<TensorId> = own.map(|(index, _)| TensorId { set: self.set, index }).collect();
        self.reset_tensors(&own)
    }

    /// Reads the state, with the parameters. **Submits and blocks**: for tools and tests.
    ///
    /// # Errors
    /// As [`download_checkpoint`](Optimizer::download_checkpoint), and [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_checkpoint_blocking(&self, params: &ParamSet) -> Result<OptimizerState, Error> {
        let label = Some("wgpu-optim: blocking read");
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        let download = self.download_checkpoint(&mut encoder, params)?;
        self.queue.submit([encoder.finish()]);
        super::readback::wait_for(&self.device, download.read())
    }
}

impl ParamSet {
    /// Queues the upload of the parameters of a state, and of the gradients that it has; it takes effect before the next
    /// submit.
    ///
    /// # Errors
    /// [`Error::State`] where a tensor is not in the state, or has another number of elements; nothing was written then.
    /// [`Error::Buffer`] for a buffer of the host's without `COPY_DST`.
    pub fn load_params(&self, queue: &wgpu::Queue, state: &OptimizerState) -> Result<(), Error> {
        let refused = |reason: String| Error::State { reason };
        let mut all = vec![];
        for (index, tensor) in self.tensors().iter().enumerate() {
            let id = TensorId { set: self.set, index };
            let words = |role: &str| state.get(&format!("{role}/{}", tensor.name));
            let param = words("param")
                .ok_or_else(|| refused(format!("the parameters of '{}' are not in it", tensor.name)))?;
            let grad = words("grad");
            for words in [Some(param), grad].into_iter().flatten() {
                if words.len() != tensor.len {
                    let (got, needed) = (words.len(), tensor.len);
                    return Err(refused(format!(
                        "'{}' has {got} elements in it, {needed} here",
                        tensor.name
                    )));
                }
            }
            all.push((id, param, grad));
        }
        for (id, param, grad) in all {
            self.write_param(queue, id, bytemuck::cast_slice(param))?;
            if let Some(grad) = grad {
                self.write_grad(queue, id, bytemuck::cast_slice(grad))?;
            }
        }
        Ok(())
    }
}
