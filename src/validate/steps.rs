//! Runs a case on a device, and compares every word after each step with what it may be.

use super::numbers::{gradients, parameters};
use super::{Case, Verdict, Violation};
use crate::arithmetic::Interval;
use crate::device::{Download, Optimizer, ParamSet, TensorId};
use crate::error::Error;
use crate::program::Options;
use crate::reference::{DeviceScalars, Words, expect_step, host_scalars};
use crate::rule::{AnyRule, Config, HostState};

/// Runs a case. Await it while somebody polls the device, as for any download; see [`check_blocking`].
///
/// # Errors
/// What [`ParamSet`] and [`Optimizer`] refuse, and [`Error::DeviceLost`].
pub async fn check(device: &wgpu::Device, queue: &wgpu::Queue, case: &Case) -> Result<Verdict, Error> {
    let mut run = Run::new(device, queue, case)?;
    let mut verdict = Verdict {
        rule: case.rule.rule().to_json(),
        wrappers: case.wrappers.names(),
        poison: case.poison,
        worst: 0.0,
        words: 0,
        violation: None,
    };
    let mut before = run.read().await?;
    for step in 1..=case.steps {
        let g: Vec<Vec<f32>> = case
            .sizes
            .iter()
            .enumerate()
            .map(|(tensor, len)| gradients(tensor, step, *len, case.poison))
            .collect();
        let skipped = case.wrappers.skips() && g.iter().flatten().any(|g| !g.is_finite());
        run.step(&g)?;
        let after = run.read().await?;
        if !skipped {
            run.compare(step, &before, &g, &after, &mut verdict);
        } else if !after.is_same(&before) {
            verdict.violation.get_or_insert(Violation {
                step,
                tensor: 0,
                slot: "theta".into(),
                element: 0,
                got: "other words".into(),
                expected: "the words before, since the step is skipped".into(),
            });
        }
        if verdict.violation.is_some() {
            break;
        }
        before = after;
    }
    Ok(verdict)
}

/// Runs a case and polls the device meanwhile. **Submits and blocks**: for tools and tests.
///
/// # Errors
/// As [`check`].
#[cfg(not(target_arch = "wasm32"))]
pub fn check_blocking(device: &wgpu::Device, queue: &wgpu::Queue, case: &Case) -> Result<Verdict, Error> {
    super::probes::block_on(device, check(device, queue, case))
}

/// All words of a run.
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

struct Run<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    case: &'a Case,
    params: ParamSet,
    optimizer: Optimizer<AnyRule>,
    rules: [AnyRule; 2],
    ids: Vec<TensorId>,
    host: [HostState; 2],
    /// Steps that were taken.
    taken: u64,
}

impl<'a> Run<'a> {
    fn new(device: &'a wgpu::Device, queue: &'a wgpu::Queue, case: &'a Case) -> Result<Self, Error> {
        let mut slower = case.rule.clone();
        if let Some(lr) = slower.get("lr") {
            let refused = |refusal| Error::Config { group: "slower".into(), refusal };
            slower.set("lr", lr / 2.0).map_err(refused)?;
        }
        let mut builder = ParamSet::builder();
        let groups = [builder.group("first"), builder.group("slower")];
        let tensor =
            |(i, len): (usize, &usize)| builder.tensor(format!("tensor {i}"), shape(*len), groups[i % 2]);
        let ids: Vec<TensorId> = case.sizes.iter().enumerate().map(tensor).collect();
        let params = builder.build(device)?;
        let (wrappers, shape, wgsl) = (case.wrappers, case.shape, case.wgsl.clone());
        let options = Options { wrappers, shape, wgsl, ..Options::default() };
        let rules = [case.rule.clone(), slower];
        let optimizer = Optimizer::with_options(device, queue, &params, rules.clone(), &options)?;
        for (i, (id, len)) in ids.iter().zip(&case.sizes).enumerate() {
            params.write_param(queue, *id, &parameters(i, *len))?;
        }
        let host = [HostState::default(); 2];
        Ok(Self { device, queue, case, params, optimizer, rules, ids, host, taken: 0 })
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("validate") })
    }

    fn step(&mut self, g: &[Vec<f32>]) -> Result<(), Error> {
        for (id, g) in self.ids.iter().zip(g) {
            self.params.write_grad(self.queue, *id, g)?;
        }
        let mut encoder = self.encoder();
        self.optimizer.step(&mut encoder)?;
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    async fn read(&self) -> Result<State, Error> {
        let mut encoder = self.encoder();
        let kept = self.optimizer.slots();
        let (mut theta, mut slots) = (vec![], vec![]);
        for id in &self.ids {
            theta.push(self.params.download_param(&mut encoder, *id)?);
            let mut of_tensor = vec![];
            for slot in &self.optimizer.program().slots {
                let download = kept.contains(&slot.name.as_str());
                let download = download.then(|| self.optimizer.download_slot(&mut encoder, *id, &slot.name));
                of_tensor.push(download.transpose()?);
            }
            slots.push(of_tensor);
        }
        let device = self.optimizer.download_device_scalars(&mut encoder).ok();
        self.queue.submit([encoder.finish()]);
        let mut state = State { theta: vec![], slots: vec![], device: vec![] };
        for download in theta {
            state.theta.push(download.read().await?);
        }
        for of_tensor in slots {
            let mut words = vec![];
            for download in of_tensor {
                words.push(read(download).await?);
            }
            state.slots.push(words);
        }
        state.device = read(device).await?;
        Ok(state)
    }

    /// Compares what a step made.
    fn compare(&mut self, step: u64, before: &State, g: &[Vec<f32>], after: &State, verdict: &mut Verdict) {
        self.taken += 1;
        let t = self.taken;
        let scalars = [0, 1].map(|group| host_scalars(self.rules[group].rule(), t, &mut self.host[group]));
        let words: Vec<Words<'_>> = self
            .ids
            .iter()
            .enumerate()
            .map(|(i, id)| Words {
                rule: self.rules[i % 2].rule(),
                scalars: &scalars[i % 2],
                shape: self.params.tensor(*id).map_or(&[], |tensor| &tensor.shape),
                theta: &before.theta[i],
                g: &g[i],
                evaluates: false,
                slots: &before.slots[i],
            })
            .collect();
        let device =
            DeviceScalars { rule: self.rules[0].rule(), scalars: &scalars[0], words: &before.device };
        let (expected, device) = expect_step(t, &self.case.wrappers, Some(device), &words);
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
        let names: Vec<&str> = self.optimizer.program().slots.iter().map(|slot| slot.name.as_str()).collect();
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

async fn read(download: Option<Download>) -> Result<Vec<f32>, Error> {
    match download {
        Some(download) => download.read().await,
        None => Ok(vec![]),
    }
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
