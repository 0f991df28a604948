//! The CPU twin of the frame: the same groups, the same host scalars, the same order of operations.
//! It needs no GPU.

use crate::error::Error;
use crate::interval::Interval;
use crate::params::ParamSet;
use crate::rule::{Config, MAX_FIELDS, Memory, Method};

/// Runs a rule on the CPU in `f64`: the truth that a recorded trajectory or a GPU run is held against.
#[derive(Debug, Clone)]
pub struct Reference<C> {
    groups: Vec<C>,
    memory: Vec<Memory>,
    step: u64,
    tensors: Vec<ReferenceTensor>,
}

/// One tensor of a [`Reference`].
#[derive(Debug, Clone)]
pub struct ReferenceTensor {
    /// Index of its group.
    pub group: usize,
    /// Parameters.
    pub theta: Vec<f64>,
    /// One for each slot of the rule; empty for slots that its group does not keep.
    pub slots: Vec<Vec<f64>>,
}

impl<C: Config> Reference<C> {
    /// A reference of tensors given as (index of the group, initial parameters).
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::UnknownHandle`] for a group that has no configuration.
    pub fn new(
        groups: impl IntoIterator<Item = C>,
        tensors: impl IntoIterator<Item = (usize, Vec<f64>)>,
    ) -> Result<Self, Error> {
        let groups: Vec<C> = groups.into_iter().collect();
        for (index, group) in groups.iter().enumerate() {
            let refused = |refusal| Error::Config { group: index.to_string(), refusal };
            group.method().validate().map_err(refused)?;
        }
        let make = |(index, theta): (usize, Vec<f64>)| {
            let count = groups.len();
            let group = groups.get(index).ok_or(Error::UnknownHandle { what: "group", index, count })?;
            let method = group.method();
            let (mut kept, mut initial) =
                (vec![false; method.slots().len()], vec![0f32; method.slots().len()]);
            method.keeps(&mut kept);
            method.initial(&mut initial);
            let slots = kept
                .iter()
                .zip(&initial)
                .map(|(kept, initial)| vec![f64::from(*initial); if *kept { theta.len() } else { 0 }]);
            Ok(ReferenceTensor { group: index, slots: slots.collect(), theta })
        };
        let tensors = tensors.into_iter().map(make).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { memory: vec![Memory::default(); groups.len()], groups, step: 0, tensors })
    }

    /// A reference of the tensors of `params`, with the given parameters, in order.
    ///
    /// # Errors
    /// As [`new`](Reference::new).
    pub fn of(
        params: &ParamSet,
        groups: impl IntoIterator<Item = C>,
        theta: impl IntoIterator<Item = Vec<f64>>,
    ) -> Result<Self, Error> {
        let tensors = params.tensors().iter().map(|tensor| tensor.group.index()).zip(theta);
        Self::new(groups, tensors)
    }

    /// The tensors.
    pub fn tensors(&self) -> &[ReferenceTensor] {
        &self.tensors
    }

    /// The groups' configurations, to change: they count from the next step on.
    pub fn groups_mut(&mut self) -> &mut [C] {
        &mut self.groups
    }

    /// One step, with one gradient for each tensor.
    ///
    /// # Errors
    /// [`Error::Length`] where a gradient's length differs from its tensor's.
    pub fn step(&mut self, gradients: &[Vec<f64>]) -> Result<(), Error> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            let got = gradients.get(index).map_or(0, Vec::len);
            if got != tensor.theta.len() {
                let expected = tensor.theta.len();
                return Err(Error::Length { tensor: index.to_string(), expected, got });
            }
        }
        self.step += 1;
        let rows: Vec<Vec<f64>> = self
            .groups
            .iter()
            .zip(&mut self.memory)
            .map(|(group, memory)| host_row(group.method(), self.step, memory))
            .collect();
        for (tensor, g) in self.tensors.iter_mut().zip(gradients) {
            let method = self.groups[tensor.group].method();
            let mut slots: Vec<&mut [f64]> = tensor.slots.iter_mut().map(Vec::as_mut_slice).collect();
            method.run_f64(&rows[tensor.group], &mut tensor.theta, g, &mut slots);
        }
        Ok(())
    }
}

/// The host scalars of a step, as a vector.
pub fn host_row(method: &dyn Method, t: u64, memory: &mut Memory) -> Vec<f64> {
    let mut row = [0f64; MAX_FIELDS];
    let row = &mut row[..method.fields().len()];
    method.host_row(t, memory, row);
    row.to_vec()
}

/// What one step may do to some elements: for the parameters and every slot, the truth and all that
/// a conforming WGSL implementation may return, starting from exactly the given words.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The parameters after the step: (truth, allowed).
    pub theta: Vec<(f64, Interval)>,
    /// Each slot after the step; empty for slots not given.
    pub slots: Vec<Vec<(f64, Interval)>>,
}

/// One step of `method` from the words that a GPU holds: the expectation to compare its next words with.
///
/// `row` is the step's [`host_row`]; `slots` has one entry for each slot of the rule, empty where it is
/// not kept.
pub fn expect_step(
    method: &dyn Method,
    row: &[f64],
    theta: &[f32],
    g: &[f32],
    slots: &[Vec<f32>],
) -> Expected {
    // The shader sees host scalars rounded to f32; the truth starts from the same words.
    let row: Vec<f64> = row.iter().map(|x| f64::from(*x as f32)).collect();
    let exact = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let points = |x: &[f32]| x.iter().map(|x| Interval::point(f64::from(*x))).collect::<Vec<Interval>>();

    let mut truth = exact(theta);
    let mut truth_slots: Vec<Vec<f64>> = slots.iter().map(|slot| exact(slot)).collect();
    let mut views: Vec<&mut [f64]> = truth_slots.iter_mut().map(Vec::as_mut_slice).collect();
    method.run_f64(&row, &mut truth, &exact(g), &mut views);

    let mut allowed = points(theta);
    let mut allowed_slots: Vec<Vec<Interval>> = slots.iter().map(|slot| points(slot)).collect();
    let mut views: Vec<&mut [Interval]> = allowed_slots.iter_mut().map(Vec::as_mut_slice).collect();
    method.run_interval(&row, &mut allowed, &points(g), &mut views);

    let pair = |truth: Vec<f64>, allowed: Vec<Interval>| truth.into_iter().zip(allowed).collect::<Vec<_>>();
    Expected {
        theta: pair(truth, allowed),
        slots: truth_slots
            .into_iter()
            .zip(allowed_slots)
            .map(|(truth, allowed)| pair(truth, allowed))
            .collect(),
    }
}
