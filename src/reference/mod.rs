//! The scalar reference on the CPU: the same groups, the same host scalars, the same order of operations as on the
//! device. It needs no GPU.

mod around;
mod expected;
mod matrices;
mod step;

pub use expected::{DeviceScalars, Expected, Words, expect_step};

use crate::error::Error;
use crate::program::{Matrices, Tensors};
use crate::rule::{Config, DynRule, HostState, MAX_FIELDS, SlotKind, depths_of, initial_of};
use crate::wrappers::{LARGEST_SCALE, LossScale, SMALLEST_SCALE, WRAPPER_SLOTS, Wrappers};
use around::Around;
use step::{Stepping, take_step};

/// Runs a rule on the CPU in `f64`: the truth that a recorded trajectory or a GPU run is held against.
#[derive(Debug, Clone)]
pub struct Reference<C> {
    groups: Vec<C>,
    wrappers: Wrappers,
    /// The groups, or the tensors where these count their own steps.
    counting: Vec<Counting>,
    own_steps: bool,
    /// Whether each group's weights are those for evaluation.
    evaluated: Vec<bool>,
    scale: Scale,
    tensors: Vec<ReferenceTensor>,
    device_scalars: Vec<f64>,
}

/// One who counts steps.
#[derive(Debug, Clone, Copy)]
struct Counting {
    group: usize,
    /// What the rule keeps on the host.
    host: HostState,
    /// Steps taken: one that only converts weights is none.
    taken: u64,
}

impl Counting {
    fn of(group: usize) -> Self {
        Self { group, host: HostState::default(), taken: 0 }
    }
}

/// The loss scale: the reference of `fn control` in `shaders/core/combine.wgsl`.
#[derive(Debug, Clone, Copy)]
struct Scale {
    scale: f64,
    /// Steps in a row without an overflow.
    good: u32,
}

impl Scale {
    fn of(wrappers: &Wrappers) -> Self {
        Self { scale: wrappers.loss_scale.map_or(1.0, |scale| scale.initial), good: 0 }
    }

    /// After a step.
    fn adapt(&mut self, wrappers: &Wrappers, taken: bool) {
        let Some(LossScale { growth, backoff, interval, .. }) = wrappers.loss_scale else { return };
        self.good = if taken { self.good + 1 } else { 0 };
        if !taken {
            self.scale = (self.scale * backoff).max(SMALLEST_SCALE);
        } else if self.good == interval {
            self.scale = (self.scale * growth).min(LARGEST_SCALE);
            self.good = 0;
        }
    }
}

/// One tensor of a [`Reference`].
#[derive(Debug, Clone)]
pub struct ReferenceTensor {
    /// Index of its group.
    pub group: usize,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Parameters.
    pub theta: Vec<f64>,
    /// One for each slot of the rule and of the wrappers: empty for slots that its group does not keep,
    /// all values one behind the other for a ring; one for each line for rows and columns.
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
            let rule = group.rule();
            rule.validate().and_then(|()| rule.foreseeable()).map_err(refused)?;
            rule.starts_alike(&groups[0].rule().device_scalars()).map_err(refused)?;
        }
        let make = |(index, theta): (usize, Vec<f64>)| {
            let count = groups.len();
            let group = groups.get(index).ok_or(Error::UnknownHandle { what: "group", index, count })?;
            let (depths, initial) = (depths_of(group.rule()), initial_of(group.rule()));
            let own = depths.iter().zip(initial).take(group.rule().spec().slots.len());
            let slots = own.map(|(depth, initial)| vec![f64::from(initial); *depth as usize * theta.len()]);
            let slots = slots.chain([vec![], vec![]]).collect();
            Ok(ReferenceTensor { group: index, shape: vec![theta.len()], slots, theta })
        };
        let mut tensors = tensors.into_iter().map(make).collect::<Result<Vec<_>, Error>>()?;
        tensors.iter_mut().for_each(|tensor| make_factored(groups[tensor.group].rule(), tensor));
        let device_scalars = groups.first().map(Config::rule).map(|rule| {
            let count = rule.spec().device_scalars().count();
            rule.device_scalars().into_iter().take(count).collect()
        });
        let device_scalars = device_scalars.unwrap_or_default();
        let wrappers = Wrappers::default();
        let scale = Scale::of(&wrappers);
        let counting = (0..groups.len()).map(Counting::of).collect();
        let (evaluated, own_steps) = (vec![false; groups.len()], false);
        Ok(Self { groups, wrappers, counting, own_steps, evaluated, scale, tensors, device_scalars })
    }

    /// The same with tensors of these shapes, before the first step. Without, each tensor has one dimension. Only
    /// rules that keep averages over rows and columns see shapes.
    ///
    /// # Errors
    /// [`Error::Length`] where a shape has another number of elements than its tensor.
    pub fn with_shapes(mut self, shapes: impl IntoIterator<Item = Vec<usize>>) -> Result<Self, Error> {
        for ((index, tensor), shape) in self.tensors.iter_mut().enumerate().zip(shapes) {
            let (expected, got) = (tensor.theta.len(), shape.iter().product());
            if got != expected {
                return Err(Error::Length { tensor: index.to_string(), expected, got });
            }
            tensor.shape = shape;
            make_factored(self.groups[tensor.group].rule(), tensor);
        }
        Ok(self)
    }

    /// The same with wrappers around the rule, before the first step.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn wrapped(mut self, wrappers: Wrappers) -> Result<Self, Error> {
        let group = || "every group".to_string();
        wrappers.validate().map_err(|refusal| Error::Config { group: group(), refusal })?;
        self.wrappers = wrappers;
        self.scale = Scale::of(&wrappers);
        for tensor in &mut self.tensors {
            let own = tensor.slots.len() - WRAPPER_SLOTS.len();
            for (slot, depth) in tensor.slots[own..].iter_mut().zip(wrappers.depths()) {
                *slot = vec![0.0; depth as usize * tensor.theta.len()];
            }
        }
        Ok(self)
    }

    /// The same with a count of steps of each tensor, before the first step, so that [`step_some`](Reference::step_some) may
    /// leave some out. See [`Options::own_steps`](crate::Options::own_steps). Rows that count their own steps
    /// ([`RowMasks::RowSteps`](crate::program::RowMasks::RowSteps)) are here tensors, one each.
    pub fn with_own_steps(mut self) -> Self {
        self.counting = self.tensors.iter().map(|tensor| Counting::of(tensor.group)).collect();
        self.own_steps = true;
        self
    }

    /// A reference of these tensors, with the given parameters, in order.
    ///
    /// # Errors
    /// As [`new`](Reference::new).
    pub fn of(
        tensors: &Tensors,
        groups: impl IntoIterator<Item = C>,
        theta: impl IntoIterator<Item = Vec<f64>>,
    ) -> Result<Self, Error> {
        let all = tensors.tensors();
        let reference = Self::new(groups, all.iter().map(|tensor| tensor.group).zip(theta))?;
        reference.with_shapes(all.iter().map(|tensor| tensor.shape.clone()))
    }

    /// The tensors.
    pub fn tensors(&self) -> &[ReferenceTensor] {
        &self.tensors
    }

    /// The rule's device scalars: one value for each field of kind `device`.
    pub fn device_scalars(&self) -> &[f64] {
        &self.device_scalars
    }

    /// The groups' configurations, to change: they count from the next step on.
    pub fn groups_mut(&mut self) -> &mut [C] {
        &mut self.groups
    }

    /// What stands around the rule, to change: its numbers count from the next step on.
    pub fn wrappers_mut(&mut self) -> &mut Wrappers {
        &mut self.wrappers
    }

    /// Steps taken, of the tensor that took most: those that were skipped or only converted weights do not count.
    pub fn steps(&self) -> u64 {
        self.counting.iter().map(|own| own.taken).max().unwrap_or(0)
    }

    /// What the next step divides its gradients by; 1 without loss scaling.
    pub fn loss_scale(&self) -> f64 {
        self.scale.scale
    }

    /// One step, with one gradient for each tensor.
    ///
    /// # Errors
    /// [`Error::Length`] where a gradient's length differs from its tensor's.
    pub fn step(&mut self, gradients: &[Vec<f64>]) -> Result<(), Error> {
        self.advance(&gradients.iter().map(|g| Some(&g[..])).collect::<Vec<_>>())
    }

    /// One step of the tensors that have a gradient; the others are left out of it.
    ///
    /// # Errors
    /// As [`step`](Reference::step), and [`Error::WithoutOption`] for a tensor without a gradient where tensors do not
    /// [count their own steps](Reference::with_own_steps).
    pub fn step_some(&mut self, gradients: &[Option<Vec<f64>>]) -> Result<(), Error> {
        if !self.own_steps && gradients.iter().any(Option::is_none) {
            return Err(Error::WithoutOption { what: "step_some", option: "own_steps" });
        }
        self.advance(&gradients.iter().map(Option::as_deref).collect::<Vec<_>>())
    }

    fn advance(&mut self, gradients: &[Option<&[f64]>]) -> Result<(), Error> {
        // What is not given has no elements.
        let given = |index: usize| gradients.get(index).copied().unwrap_or(Some(&[]));
        for (index, tensor) in self.tensors.iter().enumerate() {
            let expected = tensor.theta.len();
            let got = given(index).map_or(expected, <[f64]>::len);
            if got != expected {
                return Err(Error::Length { tensor: index.to_string(), expected, got });
            }
        }
        let wanted: Vec<bool> = self.groups.iter().map(|group| group.rule().evaluates()).collect();
        let trains: Vec<bool> = self.evaluated.iter().zip(&wanted).map(|(was, is)| !was && !is).collect();
        let inverse_scale = 1.0 / self.scale.scale;
        let trains_any = trains.contains(&true);
        // A gradient that f32 does not hold without its loss scale is not finite.
        let factor = inverse_scale * self.wrappers.average();
        let holds = |g: &f64| (g * factor).abs() <= f64::from(f32::MAX);
        let mut all = gradients.iter().flatten().copied().flatten();
        let taken = !trains_any || !self.wrappers.skips() || all.all(holds);
        if trains_any {
            self.scale.adapt(&self.wrappers, taken);
        }
        let mut scalars = vec![];
        for (index, own) in self.counting.iter_mut().enumerate() {
            // A step that does not count leaves what follows from the count as it is.
            let (mut host, t) = (own.host, own.taken + 1);
            scalars.push((t, host_scalars(self.groups[own.group].rule(), t, &mut host)));
            let acts = !self.own_steps || given(index).is_some();
            if trains[own.group] && taken && acts {
                (own.host, own.taken) = (host, t);
            }
        }
        // Weights are converted also where there is no gradient.
        let nothing: Vec<Vec<f64>> =
            self.tensors.iter().map(|tensor| vec![0.0; tensor.theta.len()]).collect();
        let mut steps: Vec<Stepping<'_, f64>> = self
            .tensors
            .iter_mut()
            .enumerate()
            .filter(|(index, tensor)| !trains[tensor.group] || taken && given(*index).is_some())
            .map(|(index, tensor)| {
                let g = given(index).unwrap_or(&nothing[index]);
                let rule = self.groups[tensor.group].rule();
                let (t, scalars) = &scalars[if self.own_steps { index } else { tensor.group }];
                let (len, place) = (g.len(), ring_place(rule, *t));
                Stepping {
                    rule,
                    scalars,
                    around: Around::new(&self.wrappers, *t, |x| x),
                    evaluates: (self.evaluated[tensor.group], wanted[tensor.group]),
                    shape: &tensor.shape,
                    theta: &mut tensor.theta[..],
                    g,
                    slots: tensor.slots.iter_mut().map(|slot| seen(slot, len, place)).collect(),
                    factored: vec![],
                }
            })
            .collect();
        let first = self.groups.first().zip(scalars.first());
        let first = first.map(|(group, (_, scalars))| (group.rule(), &scalars[..]));
        let first = first.filter(|_| taken && trains_any);
        take_step(&self.wrappers, inverse_scale, first, &mut self.device_scalars, &mut steps);
        self.evaluated = wanted;
        Ok(())
    }
}

/// Gives rows and columns their slots.
fn make_factored(rule: &dyn DynRule, tensor: &mut ReferenceTensor) {
    let matrices = Matrices::of(&tensor.shape);
    for (values, slot) in tensor.slots.iter_mut().zip(rule.spec().slots) {
        if slot.kind != SlotKind::Element {
            *values = vec![0.0; matrices.lines(slot.kind)];
        }
    }
}

/// The part of a slot that a step sees: all of it, or a ring's value at `place`.
fn seen<T>(slot: &mut [T], len: usize, place: usize) -> &mut [T] {
    if slot.len() > len { &mut slot[place * len..(place + 1) * len] } else { slot }
}

/// A rule's host scalars of step `t`, one for each field of its [`Spec`](crate::rule::Spec); what the device finds is 0.
pub fn host_scalars(rule: &dyn DynRule, t: u64, state: &mut HostState) -> Vec<f64> {
    let mut values = [0f64; MAX_FIELDS];
    let values = &mut values[..rule.spec().fields.len()];
    rule.host_scalars(t, state, values);
    values.to_vec()
}

/// Where in its ring a rule reads and writes at step `t`; 0 without a ring.
fn ring_place(rule: &dyn DynRule, t: u64) -> usize {
    ((t - 1) % u64::from(rule.ring_length())) as usize
}

/// For the rules' unit tests: gradient of step `t`, of four sizes and changing signs.
#[cfg(test)]
pub(crate) fn trial_gradient(t: u64) -> [f64; 4] {
    [0, 1, 2, 3].map(|i| ((7 * t + 3 * i as u64) as f64).sin() * 10f64.powi(-i))
}

/// For the rules' unit tests: four parameters after some steps; `schedule` changes the configuration before
/// each.
#[cfg(test)]
pub(crate) fn trial_run<C: Config>(config: C, schedule: impl Fn(&mut C, u64), steps: u64) -> ReferenceTensor {
    let mut reference = Reference::new([config], [(0, vec![0.5, -1.0, 0.25, 0.0])]).unwrap();
    for t in 1..=steps {
        schedule(&mut reference.groups_mut()[0], t);
        reference.step(&[trial_gradient(t).to_vec()]).unwrap();
    }
    reference.tensors()[0].clone()
}

/// For the rules' unit tests: step `t` of one tensor in `f32`, with nothing around the rule.
#[cfg(test)]
pub(crate) fn step_in_f32(
    rule: &dyn DynRule,
    t: u64,
    host: &mut HostState,
    theta: &mut [f32],
    g: &[f32],
    slots: &mut [&mut [f32]],
) {
    let values = host_scalars(rule, t, host);
    let scalars = crate::rule::Scalars { host: &values, results: &[], device: &[] };
    let equation = &rule.spec().in_f32;
    let step = (equation.update)(scalars, theta, g, slots);
    let decay = (equation.decay)(scalars, theta);
    for (theta, (decay, step)) in theta.iter_mut().zip(decay.iter().zip(step)) {
        *theta -= decay + step;
    }
}

/// For the rules' unit tests: the same numbers, up to rounding in `f64`.
#[cfg(test)]
pub(crate) fn assert_close(got: &[f64], want: &[f64]) {
    let close = |(got, want): (&f64, &f64)| (got - want).abs() <= 1e-12 * want.abs().max(1e-3);
    assert!(got.len() == want.len() && got.iter().zip(want).all(close), "{got:?} {want:?}");
}
