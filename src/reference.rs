//! The CPU twin of the frame: the same groups, the same host scalars, the same order of operations.
//! It needs no GPU.

use crate::any_rule::Config;
use crate::clock::ring_place;
use crate::cpu::{Found, Step};
use crate::error::Error;
use crate::interval::Interval;
use crate::lines::Matrices;
use crate::params::ParamSet;
use crate::real::Real;
use crate::rule::{FieldKind, MAX_FIELDS, Memory, Method, Scope, SlotKind, carried_fields, starts_alike};
use crate::wrappers::{LARGEST_SCALE, LEAST_AGREEMENT, LossScale, SMALLEST_SCALE, WRAPPER_SLOTS, Wrappers};

/// Runs a rule on the CPU in `f64`: the truth that a recorded trajectory or a GPU run is held against.
#[derive(Debug, Clone)]
pub struct Reference<C> {
    groups: Vec<C>,
    memory: Vec<Memory>,
    wrappers: Wrappers,
    /// Steps taken, of each group: one that only converts weights is none.
    taken: Vec<u64>,
    /// Whether each group's weights are those for evaluation.
    evaluated: Vec<bool>,
    scale: Scale,
    tensors: Vec<ReferenceTensor>,
    carried: Vec<f64>,
}

/// The loss scale: the twin of `fn control` in `shaders/combine.wgsl`.
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

/// Additions on the longest way of a share into the device's sum over `count` elements: four of a vec4, eight
/// quads and the eight parts of an invocation's share of a tile, both trees, and the tiles that one invocation
/// combines.
fn roundings(count: usize) -> usize {
    let tiles = count.div_ceil(4096);
    4 + 8 + 8 + 14 + 7 + tiles.min(16).max(tiles / 128 + 1)
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
            group.method().validate().and_then(|()| group.method().foreseeable()).map_err(refused)?;
            starts_alike(group.method(), &groups[0].method().carried()).map_err(refused)?;
        }
        let make = |(index, theta): (usize, Vec<f64>)| {
            let count = groups.len();
            let group = groups.get(index).ok_or(Error::UnknownHandle { what: "group", index, count })?;
            let method = group.method();
            let (mut depths, mut initial) = (vec![0; method.slots().len()], vec![0f32; method.slots().len()]);
            method.keeps(&mut depths);
            method.initial(&mut initial);
            let own = depths.iter().zip(initial);
            let slots = own.map(|(depth, initial)| vec![f64::from(initial); *depth as usize * theta.len()]);
            let slots = slots.chain([vec![], vec![]]).collect();
            Ok(ReferenceTensor { group: index, shape: vec![theta.len()], slots, theta })
        };
        let mut tensors = tensors.into_iter().map(make).collect::<Result<Vec<_>, Error>>()?;
        tensors.iter_mut().for_each(|tensor| make_lines(groups[tensor.group].method(), tensor));
        let memory = vec![Memory::default(); groups.len()];
        let carried = groups.first().map(|group| group.method()).map(|method| {
            let count = carried_fields(method.fields());
            method.carried().into_iter().take(count).collect()
        });
        let carried = carried.unwrap_or_default();
        let wrappers = Wrappers::default();
        let scale = Scale::of(&wrappers);
        let (taken, evaluated) = (vec![0; groups.len()], vec![false; groups.len()]);
        Ok(Self { memory, groups, wrappers, taken, evaluated, scale, tensors, carried })
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
            make_lines(self.groups[tensor.group].method(), tensor);
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
        Self::new(groups, tensors)?.with_shapes(params.tensors().iter().map(|tensor| tensor.shape.clone()))
    }

    /// The tensors.
    pub fn tensors(&self) -> &[ReferenceTensor] {
        &self.tensors
    }

    /// What the rule carries from step to step: one value for each field of kind `carried`.
    pub fn carried(&self) -> &[f64] {
        &self.carried
    }

    /// The groups' configurations, to change: they count from the next step on.
    pub fn groups_mut(&mut self) -> &mut [C] {
        &mut self.groups
    }

    /// What stands around the rule, to change: its numbers count from the next step on.
    pub fn wrappers_mut(&mut self) -> &mut Wrappers {
        &mut self.wrappers
    }

    /// Steps taken: those that were skipped or only converted weights do not count.
    pub fn steps(&self) -> u64 {
        self.taken.iter().copied().max().unwrap_or(0)
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
        for (index, tensor) in self.tensors.iter().enumerate() {
            let got = gradients.get(index).map_or(0, Vec::len);
            if got != tensor.theta.len() {
                let expected = tensor.theta.len();
                return Err(Error::Length { tensor: index.to_string(), expected, got });
            }
        }
        let wanted: Vec<bool> = self.groups.iter().map(|group| group.method().evaluates()).collect();
        let trains: Vec<bool> = self.evaluated.iter().zip(&wanted).map(|(was, is)| !was && !is).collect();
        let inverse_scale = 1.0 / self.scale.scale;
        let trains_any = trains.contains(&true);
        // A gradient that f32 does not hold without its loss scale is not finite.
        let factor = inverse_scale * self.wrappers.average();
        let holds = |g: &f64| (g * factor).abs() <= f64::from(f32::MAX);
        let taken = !trains_any || !self.wrappers.skips() || gradients.iter().flatten().all(holds);
        if trains_any {
            self.scale.adapt(&self.wrappers, taken);
        }
        let mut rows = vec![];
        for (index, group) in self.groups.iter().enumerate() {
            // A step that does not count leaves what follows from the count as it is.
            let mut memory = self.memory[index];
            let t = self.taken[index] + 1;
            rows.push((t, host_row(group.method(), &self.wrappers, t, &mut memory)));
            if trains[index] && taken {
                (self.memory[index], self.taken[index]) = (memory, t);
            }
        }
        let mut steps: Vec<Stepping<'_, f64>> = self
            .tensors
            .iter_mut()
            .zip(gradients)
            .filter(|(tensor, _)| taken || !trains[tensor.group])
            .map(|(tensor, g)| {
                let method = self.groups[tensor.group].method();
                let (t, row) = &rows[tensor.group];
                let (len, place) = (g.len(), ring_place(method, *t) as usize);
                let slots = tensor.slots.iter_mut().map(|slot| seen(slot, len, place)).collect();
                let evaluates = (self.evaluated[tensor.group], wanted[tensor.group]);
                let (first, theta) = (*t == 1, &mut tensor.theta[..]);
                Stepping {
                    method,
                    row,
                    first,
                    evaluates,
                    shape: &tensor.shape,
                    theta,
                    g,
                    slots,
                    lines: vec![],
                }
            })
            .collect();
        let first = self.groups.first().zip(rows.first());
        let first = first.map(|(group, (_, row))| (group.method(), &row[..])).filter(|_| taken && trains_any);
        take_step(&self.wrappers, inverse_scale, first, &mut self.carried, &mut steps);
        self.evaluated = wanted;
        Ok(())
    }
}

/// A tensor in the middle of a step.
struct Stepping<'a, R> {
    method: &'a dyn Method,
    row: &'a [f64],
    /// Whether no step was taken before.
    first: bool,
    /// Whether the weights are those for evaluation, before the step and after it.
    evaluates: (bool, bool),
    shape: &'a [usize],
    theta: &'a mut [R],
    g: &'a [R],
    slots: Vec<&'a mut [R]>,
    /// For each slot of the rule that is of rows or columns, what each parameter sees of it.
    lines: Vec<Vec<R>>,
}

impl<R: Arithmetic> Stepping<'_, R> {
    fn with<T>(&mut self, found: Found<'_, R>, act: impl FnOnce(&dyn Method, Step<'_, '_, R>) -> T) -> T {
        let Self { method, row, theta, g, slots, lines, .. } = self;
        let mut lines = lines.iter_mut();
        let seen = |slot| match lines.next() {
            Some(line) if !line.is_empty() => &mut line[..],
            _ => slot,
        };
        let mut slots: Vec<&mut [R]> = slots.iter_mut().map(|slot| &mut **slot).map(seen).collect();
        act(*method, Step { row, theta, g, slots: &mut slots, found })
    }

    /// Averages rows and columns.
    fn average_lines(&mut self, found: Found<'_, R>) {
        let kinds = self.method.slot_kinds();
        if kinds.iter().all(|kind| *kind == SlotKind::Element) {
            return;
        }
        let shares = self.with(found, |method, step| R::line_shares(method, &step));
        let matrices = Matrices::of(self.shape);
        let mut lines = vec![];
        for (slot, kind) in self.slots.iter_mut().zip(kinds) {
            if *kind != SlotKind::Element {
                let means = matrices.means(*kind, &shares);
                slot.copy_from_slice(&R::line_averages(self.method, self.row, slot, &means));
            }
            lines.push(match kind {
                SlotKind::Element => vec![],
                SlotKind::Rows => matrices.row_of_each(slot),
                SlotKind::Columns => matrices.column_of_each(slot),
            });
        }
        self.lines = lines;
    }
}

/// The arithmetics that a whole step runs in.
trait Arithmetic: Real {
    fn shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Vec<Self>>;
    fn carry(method: &dyn Method, row: &[f64], measured: &[Self], carried: &mut [Self]);
    fn line_shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self>;
    fn line_averages(method: &dyn Method, row: &[f64], before: &[Self], means: &[Self]) -> Vec<Self>;
    fn agrees(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self>;
    fn run(method: &dyn Method, step: Step<'_, '_, Self>);
    fn convert(method: &dyn Method, step: Step<'_, '_, Self>, evaluate: bool);
}

impl Arithmetic for f64 {
    fn shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Vec<Self>> {
        method.shares_f64(step)
    }
    fn carry(method: &dyn Method, row: &[f64], measured: &[Self], carried: &mut [Self]) {
        method.carry_f64(row, measured, carried);
    }
    fn line_shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self> {
        method.line_shares_f64(step)
    }
    fn line_averages(method: &dyn Method, row: &[f64], before: &[Self], means: &[Self]) -> Vec<Self> {
        method.line_averages_f64(row, before, means)
    }
    fn agrees(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self> {
        method.agrees_f64(step)
    }
    fn run(method: &dyn Method, step: Step<'_, '_, Self>) {
        method.run_f64(step);
    }
    fn convert(method: &dyn Method, step: Step<'_, '_, Self>, evaluate: bool) {
        method.convert_f64(step, evaluate);
    }
}

impl Arithmetic for Interval {
    fn shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Vec<Self>> {
        method.shares_interval(step)
    }
    fn carry(method: &dyn Method, row: &[f64], measured: &[Self], carried: &mut [Self]) {
        method.carry_interval(row, measured, carried);
    }
    fn line_shares(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self> {
        method.line_shares_interval(step)
    }
    fn line_averages(method: &dyn Method, row: &[f64], before: &[Self], means: &[Self]) -> Vec<Self> {
        method.line_averages_interval(row, before, means)
    }
    fn agrees(method: &dyn Method, step: &Step<'_, '_, Self>) -> Vec<Self> {
        method.agrees_interval(step)
    }
    fn run(method: &dyn Method, step: Step<'_, '_, Self>) {
        method.run_interval(step);
    }
    fn convert(method: &dyn Method, step: Step<'_, '_, Self>, evaluate: bool) {
        method.convert_interval(step, evaluate);
    }
}

/// Measures and updates all tensors of a step; `first` is the first group's method and row, for what is carried.
fn take_step<R: Arithmetic>(
    wrappers: &Wrappers,
    inverse_scale: f64,
    first: Option<(&dyn Method, &[f64])>,
    carried: &mut [R],
    tensors: &mut [Stepping<'_, R>],
) {
    let before = carried.to_vec();
    let (zero, inverse_scale) = (R::host(0.0), R::host(inverse_scale));
    let average = R::host(wrappers.average());
    let everywhere = Found { inverse_scale, carried: &before, ..Found::nothing() };
    let all_norm = if wrappers.max_grad_norm.is_some() {
        let all: Vec<R> = tensors.iter().flat_map(|tensor| tensor.g.iter().copied()).collect();
        R::norm(&all) * average * inverse_scale
    } else {
        zero
    };
    let mut found: Vec<Found<'_, R>> = tensors
        .iter()
        .map(|tensor| {
            let clips = wrappers.max_tensor_norm.is_some();
            let tensor_norm = if clips { R::norm(tensor.g) * average } else { zero };
            Found { all_norm, tensor_norm, ..everywhere }
        })
        .collect();
    tensors.iter_mut().zip(&found).for_each(|(tensor, found)| tensor.average_lines(*found));
    // In a dispatch either every group measures or none does.
    let measures = tensors.iter().any(|tensor| tensor.method.measures());
    let shares: Vec<Vec<Vec<R>>> = tensors
        .iter_mut()
        .zip(&found)
        .map(
            |(tensor, found)| {
                if measures { tensor.with(*found, |method, step| R::shares(method, &step)) } else { vec![] }
            },
        )
        .collect();
    let method = tensors.first().map(|tensor| tensor.method);
    let kinds: Vec<FieldKind> = method
        .into_iter()
        .flat_map(|method| method.fields().iter().map(|field| field.kind).filter(|kind| kind.is_measured()))
        .collect();
    let combined = |tensors: &[Vec<Vec<R>>]| -> Vec<R> {
        let one = |(i, kind): (usize, &FieldKind)| {
            let all: Vec<R> = tensors.iter().flat_map(|shares| shares[i].iter().copied()).collect();
            match kind {
                FieldKind::Max => R::largest(&all),
                FieldKind::Sum => R::sum(&all, roundings(all.len())),
                _ => R::norm(&all),
            }
        };
        if measures { kinds.iter().enumerate().map(one).collect() } else { vec![] }
    };
    let measured: Vec<Vec<R>> = match method.map(|method| method.scope()) {
        Some(Scope::All) => vec![combined(&shares); tensors.len()],
        _ => shares.chunks(1).map(combined).collect(),
    };
    // Without elements there are no dispatches.
    if let Some((method, row)) = first.filter(|_| tensors.iter().any(|tensor| !tensor.g.is_empty())) {
        R::carry(method, row, measured.first().map_or(&[], Vec::as_slice), carried);
    }
    for (found, measured) in found.iter_mut().zip(&measured) {
        found.measured = measured;
        found.carried = carried;
    }
    if wrappers.cautious {
        for (tensor, found) in tensors.iter_mut().zip(&mut found) {
            let agrees = tensor.with(*found, |method, step| R::agrees(method, &step));
            let count = R::host(agrees.len().max(1) as f64);
            found.caution = Some(
                R::host(1.0)
                    / (R::sum(&agrees, roundings(agrees.len())) / count).max(R::host(LEAST_AGREEMENT)),
            );
        }
    }
    for (tensor, found) in tensors.iter_mut().zip(found) {
        match (tensor.evaluates, tensor.first) {
            ((false, false), _) => tensor.with(found, |method, step| R::run(method, step)),
            // The same weights as before; in the first step there are no others.
            ((before, after), first) if before == after || first => {}
            ((_, evaluate), _) => tensor.with(found, |method, step| R::convert(method, step, evaluate)),
        }
    }
}

/// Gives rows and columns their slots.
fn make_lines(method: &dyn Method, tensor: &mut ReferenceTensor) {
    let matrices = Matrices::of(&tensor.shape);
    for (slot, kind) in tensor.slots.iter_mut().zip(method.slot_kinds()) {
        if *kind != SlotKind::Element {
            *slot = vec![0.0; matrices.lines(*kind)];
        }
    }
}

/// The part of a slot that a step sees: all of it, or a ring's value at `place`.
fn seen<T>(slot: &mut [T], len: usize, place: usize) -> &mut [T] {
    if slot.len() > len { &mut slot[place * len..(place + 1) * len] } else { slot }
}

/// A step's words for one group, as a vector: the rule's host scalars, then [`Wrappers::row`].
pub fn host_row(method: &dyn Method, wrappers: &Wrappers, t: u64, memory: &mut Memory) -> Vec<f64> {
    let mut row = [0f64; MAX_FIELDS];
    let row = &mut row[..method.fields().len()];
    method.host_row(t, memory, row);
    [&*row, &wrappers.row(t)].concat()
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

/// The words that a GPU holds of one tensor before a step.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// The rule of its group.
    pub method: &'a dyn Method,
    /// The step's [`host_row`] of its group.
    pub row: &'a [f64],
    /// Its shape.
    pub shape: &'a [usize],
    /// Parameters.
    pub theta: &'a [f32],
    /// Gradients.
    pub g: &'a [f32],
    /// Whether the parameters are those for evaluation, of a rule that converts; see
    /// [`Rule::evaluates`](crate::Rule::evaluates).
    pub evaluates: bool,
    /// One entry for each slot of the rule and of the wrappers, as they are read back; empty where a slot is
    /// not kept.
    pub slots: &'a [Vec<f32>],
}

/// Step `t` of all tensors of an optimizer from the words that a GPU holds: the expectation to compare its
/// next words with, tensor by tensor. Gradients are those without a loss scale. For rules that carry nothing.
pub fn expect_step(t: u64, wrappers: &Wrappers, tensors: &[Words<'_>]) -> Vec<Expected> {
    let nothing: Option<Carried<'_>> = None;
    expect_carrying_step(t, wrappers, nothing, tensors).0
}

/// What a GPU carries from step to step, before a step.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// The rule of the first group.
    pub method: &'a dyn Method,
    /// The step's [`host_row`] of the first group.
    pub row: &'a [f64],
    /// One word for each carried field.
    pub words: &'a [f32],
}

/// As [`expect_step`], for any rule; also what it carries after the step: (truth, allowed) for each field.
pub fn expect_carrying_step(
    t: u64,
    wrappers: &Wrappers,
    carried: Option<Carried<'_>>,
    tensors: &[Words<'_>],
) -> (Vec<Expected>, Vec<(f64, Interval)>) {
    let (truths, carried_truths) = step_in::<f64>(t, wrappers, carried, tensors);
    let (allowed, carried_allowed) = step_in::<Interval>(t, wrappers, carried, tensors);
    let pair = |truth: Vec<f64>, allowed: Vec<Interval>| truth.into_iter().zip(allowed).collect::<Vec<_>>();
    let expected = truths
        .into_iter()
        .zip(allowed)
        .map(|((truth, truth_slots), (allowed, allowed_slots))| Expected {
            theta: pair(truth, allowed),
            slots: truth_slots
                .into_iter()
                .zip(allowed_slots)
                .map(|(truth, allowed)| pair(truth, allowed))
                .collect(),
        })
        .collect();
    (expected, pair(carried_truths, carried_allowed))
}

/// Parameters and slots after a step.
type After<R> = (Vec<R>, Vec<Vec<R>>);

fn step_in<R: Arithmetic>(
    t: u64,
    wrappers: &Wrappers,
    carried: Option<Carried<'_>>,
    tensors: &[Words<'_>],
) -> (Vec<After<R>>, Vec<R>) {
    let words = |words: &[f32]| words.iter().map(|x| R::word(*x)).collect::<Vec<R>>();
    // The shader sees host scalars rounded to f32; the truth starts from the same words.
    let rounded = |row: &[f64]| row.iter().map(|x| f64::from(*x as f32)).collect::<Vec<f64>>();
    let rows: Vec<Vec<f64>> = tensors.iter().map(|tensor| rounded(tensor.row)).collect();
    let gradients: Vec<Vec<R>> = tensors.iter().map(|tensor| words(tensor.g)).collect();
    let mut after: Vec<After<R>> = tensors
        .iter()
        .map(|tensor| (words(tensor.theta), tensor.slots.iter().map(|slot| words(slot)).collect()))
        .collect();
    let mut steps: Vec<Stepping<'_, R>> = tensors
        .iter()
        .zip(&mut after)
        .zip(rows.iter().zip(&gradients))
        .map(|((tensor, (theta, slots)), (row, g))| {
            let (method, len) = (tensor.method, g.len());
            let place = ring_place(method, t) as usize;
            let slots = slots.iter_mut().map(|slot| seen(slot, len, place)).collect();
            let evaluates = (tensor.evaluates, method.evaluates());
            Stepping {
                method,
                row,
                first: t == 1,
                evaluates,
                shape: tensor.shape,
                theta,
                g,
                slots,
                lines: vec![],
            }
        })
        .collect();
    let row = carried.map(|carried| rounded(carried.row)).unwrap_or_default();
    let first = carried.map(|carried| (carried.method, &row[..]));
    let mut kept = carried.map(|carried| words(carried.words)).unwrap_or_default();
    take_step(wrappers, 1.0, first, &mut kept, &mut steps);
    (after, kept)
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

/// For the rules' unit tests: the same numbers, up to rounding in `f64`.
#[cfg(test)]
pub(crate) fn assert_close(got: &[f64], want: &[f64]) {
    let close = |(got, want): (&f64, &f64)| (got - want).abs() <= 1e-12 * want.abs().max(1e-3);
    assert!(got.len() == want.len() && got.iter().zip(want).all(close), "{got:?} {want:?}");
}
