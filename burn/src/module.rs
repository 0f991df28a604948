//! Walks a module: what its parameters are called, and where each is.

use crate::error::Error;
use crate::memory::{Identity, Memory, Primitive, primitive};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::HashMap;

/// The way to the place where a walk is.
#[derive(Debug, Default)]
struct Path(Vec<String>);

impl Path {
    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// A parameter, as it was found.
pub(crate) struct Found {
    pub id: ParamId,
    pub name: String,
    pub shape: Vec<usize>,
    pub memory: Memory,
    pub identity: Identity,
}

/// The parameters of a module that require gradients, in its order.
///
/// # Errors
/// [`Error::Device`], [`Error::Type`], [`Error::Layout`], [`Error::Shared`] for one that the module uses twice.
pub(crate) fn parameters(module: &impl Module) -> Result<Vec<Found>, Error> {
    let mut look = Look { path: Path::default(), found: vec![], error: None };
    module.visit(&mut look);
    match look.error {
        Some(error) => Err(error),
        None => Ok(look.found),
    }
}

struct Look {
    path: Path,
    found: Vec<Found>,
    error: Option<Error>,
}

impl Look {
    fn parameter<const D: usize>(&self, param: &Param<Tensor<D>>) -> Result<Found, Error> {
        let (name, tensor) = (self.path.name(), param.val());
        if self.found.iter().any(|other| other.id == param.id) {
            return Err(Error::Shared { parameter: name });
        }
        let (tensor, shape) = (tensor.inner(), param.shape().to_vec());
        let identity = Identity::of(&tensor, &name)?;
        let memory = Memory::of(vec![(&name, primitive(tensor, &name)?)], false)?.remove(0);
        Ok(Found { id: param.id, name, shape, memory, identity })
    }
}

impl ModuleVisitor for Look {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.error.is_some() || !param.is_require_grad() {
            return;
        }
        match self.parameter(param) {
            Ok(found) => self.found.push(found),
            Err(error) => self.error = Some(error),
        }
    }

    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.0.pop();
    }
}

/// What the optimizer knows of a parameter.
#[derive(Debug)]
pub(crate) struct Known {
    pub id: ParamId,
    pub name: String,
    pub shape: Vec<usize>,
    pub identity: Identity,
}

/// The gradients of a step, in the order of what is known; none of those that the step leaves out.
pub(crate) type Gradients = Vec<Option<Memory>>;

/// Takes the gradients of a module, whose parameters are to be those that are known, and no one else's.
///
/// The module comes back as it was, whatever the answer.
pub(crate) fn gradients<M: Module>(
    module: M,
    known: &[Known],
    gradients: GradientsParams,
) -> (M, Result<Gradients, Error>) {
    let mut take = Take {
        path: Path::default(),
        known,
        index_of: known.iter().zip(0..).map(|(known, index)| (known.id, index)).collect(),
        gradients,
        taken: known.iter().map(|_| None).collect(),
        seen: vec![false; known.len()],
        error: None,
    };
    let module = module.map(&mut take);
    let missing = take.seen.iter().position(|seen| !seen);
    let removed = missing.map(|index| Error::Removed { parameter: known[index].name.clone() });
    match take.error.or(removed) {
        Some(error) => (module, Err(error)),
        None => (module, found(known, take.taken)),
    }
}

/// Where these gradients are.
fn found(known: &[Known], taken: Vec<Option<Primitive>>) -> Result<Gradients, Error> {
    let there: Vec<bool> = taken.iter().map(Option::is_some).collect();
    let named = known.iter().zip(taken).filter_map(|(known, taken)| Some((known.name.as_str(), taken?)));
    let mut all = Memory::of(named.collect(), true)?.into_iter();
    Ok(there.into_iter().map(|there| if there { all.next() } else { None }).collect())
}

struct Take<'a> {
    path: Path,
    known: &'a [Known],
    index_of: HashMap<ParamId, usize>,
    gradients: GradientsParams,
    taken: Vec<Option<Primitive>>,
    seen: Vec<bool>,
    error: Option<Error>,
}

impl Take<'_> {
    /// Checks a parameter, whose one owner the caller is, and takes its gradient.
    fn take<const D: usize>(&mut self, id: ParamId, tensor: &Tensor<D>, trains: bool) -> Result<(), Error> {
        let name = || self.path.name();
        let Some(&index) = self.index_of.get(&id) else {
            return if trains { Err(Error::Added { parameter: name() }) } else { Ok(()) };
        };
        let known = &self.known[index];
        let got = tensor.shape().to_vec();
        if got != known.shape {
            return Err(Error::Shape { parameter: name(), expected: known.shape.clone(), got });
        }
        if Identity::of(tensor, &known.name)? != known.identity {
            return Err(Error::Replaced { parameter: name() });
        }
        if !tensor.can_mut() || self.seen[index] {
            return Err(Error::Shared { parameter: name() });
        }
        self.seen[index] = true;
        let Some(gradient) = self.gradients.remove::<D>(id) else { return Ok(()) };
        let got = gradient.shape().to_vec();
        if got != known.shape {
            return Err(Error::Shape { parameter: name(), expected: known.shape.clone(), got });
        }
        self.taken[index] = Some(primitive(gradient.inner(), &known.name)?);
        Ok(())
    }
}

impl ModuleMapper for Take<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        // What autodiff knows of the parameter, for the way back.
        let trains = tensor.is_require_grad();
        let strategy = tensor.gradient_checkpointing_strategy();
        let differentiates = tensor.is_autodiff();
        let tensor = tensor.inner();
        if let Err(error) = self.take(id, &tensor, trains) {
            self.error = Some(error);
        }
        let mut tensor = if differentiates { Tensor::from_inner(tensor) } else { tensor };
        if let Some(strategy) = strategy {
            tensor = tensor.with_gradient_checkpointing_strategy(strategy);
        }
        Param::from_mapped_value(id, if trains { tensor.require_grad() } else { tensor }, mapper)
    }

    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.0.pop();
    }
}
