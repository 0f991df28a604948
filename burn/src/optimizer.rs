//! The optimizer of a module.

use crate::error::{Error, Refused};
use crate::groups::{Group, Parameter};
use crate::memory::Memory;
use crate::module::{Known, gradients, parameters};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn_wgpu::WgpuSetup;
#[cfg(all(feature = "checkpoint", not(target_family = "wasm")))]
use std::path::Path;
use wgpu_optim::{
    AnyRule, BufferRange, GroupId, OptimizerState, Options, ParamSet, TensorId, rule::Config, rule::Rule,
};

/// Bytes to which gradients are aligned, so that they are read four at a time.
const ALIGNED: u64 = 256;

/// Makes an [`Optimizer`]: the groups, and what stands around the rule.
pub struct Builder<'a> {
    setup: &'a WgpuSetup,
    groups: Vec<Group>,
    options: Option<Options>,
}

impl<'a> Builder<'a> {
    /// A group of the parameters whose path in the module is like `pattern`, in which `*` stands for any text and `?` for a
    /// letter: `*.bias`. A parameter is of the first group that has it.
    pub fn group<R: Rule>(self, pattern: &str, rule: R) -> Self {
        self.any_group(Group::like(pattern, AnyRule::new(rule)))
    }

    /// A group of the parameters for which `has` is true.
    pub fn group_where<R: Rule>(
        self,
        label: &str,
        has: impl Fn(&Parameter) -> bool + 'static,
        rule: R,
    ) -> Self {
        self.any_group(Group { label: label.into(), has: Box::new(has), rule: AnyRule::new(rule) })
    }

    fn any_group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// What stands around the rule, and the rest of the library's options. Without, parameters count their own steps
    /// (`own_steps`) where the rule can, so that one without a gradient rests.
    pub fn options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }

    /// The optimizer of a module; `rule` is for the parameters that are of no other group. All state is allocated here.
    ///
    /// # Errors
    /// [`Error::Nothing`] for a module without parameters that require gradients, and what [`Error`] has for one that is on
    /// another device, of another type, not contiguous, or used twice; [`Error::Optimizer`] as
    /// [`wgpu_optim::Optimizer::new`].
    pub fn build<R: Rule>(self, module: &impl Module, rule: R) -> Result<Optimizer, Error> {
        self.build_any(module, AnyRule::new(rule))
    }

    /// As [`build`](Builder::build), with a rule chosen at run time.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    pub fn build_any(mut self, module: &impl Module, rule: AnyRule) -> Result<Optimizer, Error> {
        let found = parameters(module)?;
        if found.is_empty() {
            return Err(Error::Nothing);
        }
        self.groups.push(Group { label: "all others".into(), has: Box::new(|_| true), rule });
        let WgpuSetup { device, queue, .. } = self.setup;
        let arenas = arenas(device, found.iter().map(|found| elements(&found.shape)));
        let mut builder = ParamSet::builder();
        // Groups that nobody is of are none.
        let group_of: Vec<usize> = found
            .iter()
            .map(|found| {
                let parameter = Parameter { name: found.name.clone(), shape: found.shape.clone() };
                self.groups.iter().position(|group| (group.has)(&parameter)).unwrap_or_default()
            })
            .collect();
        let used = (0..self.groups.len()).filter(|group| group_of.contains(group));
        let used: Vec<(usize, GroupId)> =
            used.map(|group| (group, builder.group(self.groups[group].label.clone()))).collect();
        let id_of = |group: usize| used.iter().find(|(own, _)| *own == group).map(|(_, id)| *id);
        let mut tensors = vec![];
        for ((found, group), grad) in found.iter().zip(&group_of).zip(&arenas) {
            let param = BufferRange::new(&found.memory.buffer, found.memory.offset);
            let group = id_of(*group).ok_or(Error::Nothing)?;
            tensors.push(builder.external(
                found.name.clone(),
                found.shape.clone(),
                group,
                param,
                grad.clone(),
            ));
        }
        let params = builder.build(device)?;
        let rules: Vec<AnyRule> = used.iter().map(|(group, _)| self.groups[*group].rule.clone()).collect();
        let options = self.options.unwrap_or_else(|| {
            let spec = rules[0].rule().spec();
            let mut options = Options::default();
            options.own_steps = !spec.is_factored() && spec.device_scalars().next().is_none();
            options
        });
        let optimizer = wgpu_optim::Optimizer::with_options(device, queue, &params, rules, &options)?;
        let known = found.into_iter().map(|found| Known {
            id: found.id,
            name: found.name,
            shape: found.shape,
            identity: found.identity,
        });
        Ok(Optimizer {
            setup: self.setup.clone(),
            known: known.collect(),
            tensors,
            groups: used.into_iter().map(|(_, id)| id).collect(),
            grads: arenas,
            rests: options.own_steps,
            params,
            optimizer,
        })
    }
}

/// Where the gradients of so many elements each are copied to.
fn arenas(device: &wgpu::Device, lens: impl Iterator<Item = u64>) -> Vec<BufferRange> {
    let limits = device.limits();
    let most = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
    let mut places: Vec<(usize, u64)> = vec![];
    let mut sizes = vec![0u64];
    for len in lens {
        let size = (len * 4).next_multiple_of(ALIGNED);
        let last = sizes.len() - 1;
        if sizes[last] > 0 && sizes[last] + size > most {
            sizes.push(0);
        }
        let last = sizes.len() - 1;
        places.push((last, sizes[last]));
        sizes[last] += size;
    }
    let buffer = |size: &u64| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim: burn's gradients"),
            size: (*size).max(ALIGNED),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let buffers: Vec<wgpu::Buffer> = sizes.iter().map(buffer).collect();
    places.into_iter().map(|(buffer, offset)| BufferRange::new(&buffers[buffer], offset)).collect()
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|side| *side as u64).product()
}

/// Updates the parameters of one burn module, where they are, in one dispatch for each of burn's memory pages that they are in.
///
/// See the [crate's documentation](crate).
#[derive(Debug)]
pub struct Optimizer {
    setup: WgpuSetup,
    known: Vec<Known>,
    tensors: Vec<TensorId>,
    groups: Vec<GroupId>,
    grads: Vec<BufferRange>,
    rests: bool,
    params: ParamSet,
    optimizer: wgpu_optim::Optimizer<AnyRule>,
}

impl Optimizer {
    /// For burn's wgpu device of this setup, as `Device::wgpu_options().init_with_setup()` gives both.
    pub fn builder(setup: &WgpuSetup) -> Builder<'_> {
        Builder { setup, groups: vec![], options: None }
    }

    /// One step of a module: all parameters that have a gradient, the others rest. To be called on the thread that ran the
    /// backward pass. Submits to burn's queue, behind all that burn has recorded; waits for nothing that the device does.
    ///
    /// # Errors
    /// [`Refused`], with the module: of one whose parameters are not those that the optimizer was made for, or that somebody
    /// else has too, and as [`wgpu_optim::Optimizer::step`]. Nothing was changed then.
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientsParams) -> Result<M, Refused<M>> {
        let (module, taken) = self::gradients(module, &self.known, gradients);
        match taken.and_then(|taken| self.submit(&taken)) {
            Ok(()) => Ok(module),
            Err(error) => Err(Refused { module, error }),
        }
    }

    fn submit(&mut self, gradients: &[Option<Memory>]) -> Result<(), Error> {
        let missing = gradients.iter().position(Option::is_none).filter(|_| !self.rests);
        if let Some(index) = missing {
            return Err(Error::NoGradient { parameter: self.known[index].name.clone() });
        }
        // What burn has recorded for the gradients comes before what is recorded here.
        if let Some(memory) = gradients.iter().flatten().next() {
            memory.client.flush().map_err(|error| Error::Runtime(error.to_string()))?;
        }
        let label = Some("wgpu-optim: step of a burn module");
        let mut encoder = self.setup.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        for (index, gradient) in gradients.iter().enumerate() {
            let size = 4 * elements(&self.known[index].shape);
            let to = &self.grads[index];
            match gradient {
                Some(from) if size > 0 => {
                    encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, size);
                }
                Some(_) => {}
                None => self.optimizer.skip(self.tensors[index])?,
            }
        }
        self.optimizer.step(&mut encoder)?;
        self.setup.queue.submit([encoder.finish()]);
        Ok(())
    }

    /// Sets the rate of every group, as burn's optimizers are given one at each step. Groups whose rates differ:
    /// [`group_mut`](Optimizer::group_mut).
    ///
    /// # Errors
    /// [`Error::Optimizer`] for a rule without a rate.
    pub fn set_lr(&mut self, lr: f64) -> Result<(), Error> {
        for (group, label) in self.groups.iter().zip(self.params.groups()) {
            let refused = |refusal| wgpu_optim::Error::Config { group: label.clone(), refusal };
            self.optimizer.group_mut(*group)?.set("lr", lr).map_err(refused)?;
        }
        Ok(())
    }

    /// The labels of the groups that some parameter is of.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.params.groups().iter().map(String::as_str)
    }

    /// The configuration of a group, to change from the next step on; none of this label.
    pub fn group_mut(&mut self, label: &str) -> Option<&mut AnyRule> {
        let index = self.params.groups().iter().position(|own| own == label)?;
        self.optimizer.group_mut(self.groups[index]).ok()
    }

    /// The parameters, in the module's order.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        self.known.iter().map(|known| Parameter { name: known.name.clone(), shape: known.shape.clone() })
    }

    /// The library's optimizer, for what else it can do: norms, skipped steps, slots.
    pub fn inner(&mut self) -> &mut wgpu_optim::Optimizer<AnyRule> {
        &mut self.optimizer
    }

    /// The library's set of parameters.
    pub fn params(&self) -> &ParamSet {
        &self.params
    }

    /// Everything that a run goes on with, by the names of the parameters: slots, counts, rates. The parameters are in burn's
    /// own records. **Submits and blocks.**
    ///
    /// # Errors
    /// [`Error::Optimizer`].
    #[cfg(not(target_family = "wasm"))]
    pub fn state(&self) -> Result<OptimizerState, Error> {
        Ok(self.optimizer.read_checkpoint_blocking(&self.params)?)
    }

    /// Goes on from a state, of this module or of another with the same parameters.
    ///
    /// # Errors
    /// [`Error::Optimizer`], naming every difference; nothing was changed then.
    pub fn load_state(&mut self, state: &OptimizerState) -> Result<(), Error> {
        Ok(self.optimizer.load_state(state)?)
    }

    /// Writes the state to a safetensors file, with the parameters: another process, or a program without burn, goes on from
    /// it. **Submits and blocks.**
    ///
    /// # Errors
    /// [`Error::Optimizer`].
    #[cfg(all(feature = "checkpoint", not(target_family = "wasm")))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.optimizer.save_checkpoint_blocking(&self.params, path)?)
    }

    /// Goes on from such a file; with the parameters, if `parameters` says so.
    ///
    /// # Errors
    /// [`Error::Optimizer`].
    #[cfg(all(feature = "checkpoint", not(target_family = "wasm")))]
    pub fn load(&mut self, path: impl AsRef<Path>, parameters: bool) -> Result<(), Error> {
        let state = OptimizerState::open(path)?;
        self.optimizer.load_state(&state)?;
        if parameters {
            self.params.load_params(&self.setup.queue, &state)?;
        }
        Ok(())
    }
}
