//! A case in progress: what a device is to run, and what it may have made of it. Knows no device.

use super::numbers::{gradients, parameters};
use super::{Case, Verdict, Violation};
use crate::arithmetic::Interval;
use crate::error::Error;
use crate::program::{Declared, Limits, Options, Packing, Program, Slice, Tensor, Tensors};
use crate::reference::{DeviceScalars, Words, expect_step, host_scalars};
use crate::rule::{AnyRule, Config, HostState};

/// A case in progress, for any executor: it makes the objects of [`program`](Trial::program), writes
/// [`parameters`](Trial::parameters), reads the words of [`slices`](Trial::slices) and gives them to [`see`](Trial::see). Then, as
/// long as there are [`gradients`](Trial::gradients), it writes them, steps, reads again and gives again.
#[derive(Debug)]
pub struct Trial {
    case: Case,
    rules: [AnyRule; 2],
    tensors: Tensors,
    program: Program,
    slices: Vec<Slice>,
    host: [HostState; 2],
    /// Steps that were taken.
    taken: u64,
    /// The step whose gradients are out, and what was there before.
    step: u64,
    before: Option<State>,
    verdict: Verdict,
}

/// All words of a run.
#[derive(Debug)]
struct State {
    theta: Vec<Vec<f32>>,
    /// For each tensor each slot, empty where it is not kept.
    slots: Vec<Vec<Vec<f32>>>,
    device: Vec<f32>,
}

impl State {
    /// NaN is like NaN.
    fn is_same(&self, other: &Self) -> bool {
        let words = |state: &Self| {
            let all = state.theta.iter().chain(state.slots.iter().flatten()).chain([&state.device]);
            all.flatten().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        words(self) == words(other)
    }
}

impl Trial {
    /// For a device with these limits.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn new(case: &Case, limits: &Limits) -> Result<Self, Error> {
        let mut slower = case.rule.clone();
        if let Some(lr) = slower.get("lr") {
            let refused = |refusal| Error::Config { group: "slower".into(), refusal };
            slower.set("lr", lr / 2.0).map_err(refused)?;
        }
        let rules = [case.rule.clone(), slower];
        let declared = |(i, len): (usize, &usize)| Declared {
            name: format!("tensor {i}"),
            shape: shape(*len),
            group: i % 2,
            own: None,
        };
        let declared: Vec<_> = case.sizes.iter().enumerate().map(declared).collect();
        let tensors = Tensors::lay_out(&["first", "slower"], &declared, &[], Packing::default(), limits)?;
        let (wrappers, shape, wgsl) = (case.wrappers, case.shape, case.wgsl.clone());
        let options = Options { wrappers, shape, wgsl, ..Options::default() };
        let program = Program::new(&tensors, &rules, &options, limits)?;
        let verdict = Verdict {
            rule: case.rule.rule().to_json(),
            wrappers: case.wrappers.names(),
            poison: case.poison,
            worst: 0.0,
            words: 0,
            violation: None,
        };
        Ok(Self {
            slices: slices(&tensors, &program),
            case: case.clone(),
            rules,
            tensors,
            program,
            host: [HostState::default(); 2],
            taken: 0,
            step: 0,
            before: None,
            verdict,
        })
    }

    /// What the device runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The tensors that it runs over.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// The rule of each of the two groups.
    pub fn rules(&self) -> &[AnyRule; 2] {
        &self.rules
    }

    /// What stands around the rule.
    pub fn wrappers(&self) -> crate::wrappers::Wrappers {
        self.case.wrappers
    }

    /// The parameters of each tensor before the first step.
    pub fn parameters(&self) -> Vec<Vec<f32>> {
        self.case.sizes.iter().enumerate().map(|(tensor, len)| parameters(tensor, *len)).collect()
    }

    /// The gradients of each tensor for the next step; none at the end, or once something was wrong.
    pub fn gradients(&mut self) -> Option<Vec<Vec<f32>>> {
        if self.verdict.violation.is_some() || self.step == self.case.steps {
            return None;
        }
        self.step += 1;
        Some(self.gradients_of_step())
    }

    fn gradients_of_step(&self) -> Vec<Vec<f32>> {
        let one = |(tensor, len): (usize, &usize)| gradients(tensor, self.step, *len, self.case.poison);
        self.case.sizes.iter().enumerate().map(one).collect()
    }

    /// Everything to read before the first step and after each, one behind the other.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Looks at the words of [`slices`](Trial::slices): those before the first step, then those after each.
    ///
    /// # Errors
    /// [`Error::Program`] for another number of words.
    pub fn see(&mut self, words: &[f32]) -> Result<(), Error> {
        let after = self.state(words)?;
        if let Some(before) = self.before.take() {
            let g = self.gradients_of_step();
            let skipped = self.case.wrappers.skips() && g.iter().flatten().any(|g| !g.is_finite());
            if !skipped {
                self.compare(&before, &g, &after);
            } else if !after.is_same(&before) {
                self.verdict.violation.get_or_insert(Violation {
                    step: self.step,
                    tensor: 0,
                    slot: "theta".into(),
                    element: 0,
                    got: "other words".into(),
                    expected: "the words before, since the step is skipped".into(),
                });
            }
        }
        self.before = Some(after);
        Ok(())
    }

    /// What came of it so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The words that [`slices`] names, in that order.
    fn state(&self, words: &[f32]) -> Result<State, Error> {
        let (got, wanted) = (words.len(), self.slices.iter().map(|slice| slice.size / 4).sum::<u64>());
        if got as u64 != wanted {
            return Err(Error::Program { reason: format!("{got} words were read, not {wanted}") });
        }
        let mut rest = words;
        let mut take = |slices: &[Slice]| {
            let count = slices.iter().map(|slice| slice.size / 4).sum::<u64>() as usize;
            let (taken, behind) = rest.split_at(count);
            rest = behind;
            taken.to_vec()
        };
        let mut state = State { theta: vec![], slots: vec![], device: vec![] };
        for (index, tensor) in self.tensors.tensors().iter().enumerate() {
            state.theta.push(take(&theta_of(&self.tensors, tensor)));
            let slot = |slot: &crate::program::SlotPlace| {
                take(&self.program.slot(index, &slot.name).unwrap_or_default())
            };
            state.slots.push(self.program.slots.iter().map(slot).collect());
        }
        state.device = take(self.program.reading(DEVICE_SCALARS).unwrap_or_default());
        Ok(state)
    }

    /// Compares what a step made.
    fn compare(&mut self, before: &State, g: &[Vec<f32>], after: &State) {
        let (step, verdict) = (self.step, &mut self.verdict);
        self.taken += 1;
        let t = self.taken;
        let scalars = [0, 1].map(|group| host_scalars(self.rules[group].rule(), t, &mut self.host[group]));
        let words: Vec<Words<'_>> = self
            .tensors
            .tensors()
            .iter()
            .enumerate()
            .map(|(i, tensor)| Words {
                rule: self.rules[i % 2].rule(),
                t,
                scalars: &scalars[i % 2],
                shape: &tensor.shape,
                theta: &before.theta[i],
                g: &g[i],
                evaluates: false,
                slots: &before.slots[i],
            })
            .collect();
        let device =
            DeviceScalars { rule: self.rules[0].rule(), scalars: &scalars[0], words: &before.device };
        let (expected, device) = expect_step(&self.case.wrappers, Some(device), &words);
        let mut see = |tensor: usize, slot: &str, element: usize, got: f32, allowed: (f64, Interval)| {
            let poisoned =
                [g, &before.theta[..]].map(|words| words.get(tensor).and_then(|words| words.get(element)));
            let poisoned = poisoned.into_iter().flatten().any(|word| !word.is_finite());
            let units = match (poisoned, slot) {
                // What is not finite is passed on; slots then hold what they may.
                (true, "theta") => got.is_finite().then_some(f64::INFINITY),
                (true, _) => None,
                (false, _) => units(got, allowed),
            };
            let Some(units) = units else { return };
            verdict.words += 1;
            if units > 1.0 {
                let (truth, Interval { low, high }) = allowed;
                verdict.violation.get_or_insert(Violation {
                    step,
                    tensor,
                    slot: slot.into(),
                    element,
                    got: format!("{got:e}"),
                    expected: format!("[{low:e}, {high:e}], in truth {truth:e}"),
                });
            }
            verdict.worst = verdict.worst.max(units);
        };
        for (i, (got, allowed)) in after.device.iter().zip(device).enumerate() {
            see(0, "device scalar", i, *got, allowed);
        }
        let names: Vec<&str> = self.program.slots.iter().map(|slot| slot.name.as_str()).collect();
        for (tensor, expected) in expected.into_iter().enumerate() {
            for (i, (got, allowed)) in after.theta[tensor].iter().zip(expected.theta).enumerate() {
                see(tensor, "theta", i, *got, allowed);
            }
            for ((got, allowed), name) in after.slots[tensor].iter().zip(expected.slots).zip(&names) {
                for (i, (got, allowed)) in got.iter().zip(allowed).enumerate() {
                    see(tensor, name, i, *got, allowed);
                }
            }
        }
    }
}

const DEVICE_SCALARS: &str = "device_scalars";

/// Where a tensor's parameters are.
fn theta_of(tensors: &Tensors, tensor: &Tensor) -> [Slice; 1] {
    let (param, _) = tensors.places(tensor);
    [Slice { buffer: param.buffer as u32, offset: param.offset, size: 4 * tensor.len as u64 }]
}

/// Parameters and slots of each tensor, then device scalars.
fn slices(tensors: &Tensors, program: &Program) -> Vec<Slice> {
    let mut all = vec![];
    for (index, tensor) in tensors.tensors().iter().enumerate() {
        all.extend(theta_of(tensors, tensor));
        all.extend(program.slots.iter().filter_map(|slot| program.slot(index, &slot.name)).flatten());
    }
    all.extend(program.reading(DEVICE_SCALARS).unwrap_or_default());
    all
}

/// The distance from the truth in units of the interval; none where an interval has no bound and so allows everything.
fn units(got: f32, (truth, allowed): (f64, Interval)) -> Option<f64> {
    if !allowed.low.is_finite() || !allowed.high.is_finite() {
        return None;
    }
    let units = allowed.error_in_units(truth, f64::from(got));
    Some(if units.is_nan() { f64::INFINITY } else { units })
}

/// A shape of so many elements with rows and columns, where there are such.
fn shape(len: usize) -> Vec<usize> {
    let rows = (2..=len.isqrt()).rev().find(|rows| len.is_multiple_of(*rows)).filter(|_| len > 8);
    rows.map_or(vec![len], |rows| vec![rows, len / rows])
}
