//! Runs a rule on the GPU and holds every word of every step against the computed interval.

use super::Gpu;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::arithmetic::Interval;
use wgpu_optim::program::{Limits, Program};
use wgpu_optim::reference::{self, DeviceScalars, expect_step, host_scalars};
use wgpu_optim::rule::{Config, HostState};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{AnyRule, BufferRange, Download, Optimizer, Options, Packing, ParamSet, TensorId, Wrappers};

/// Where the tensors live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Home {
    Arena(Packing),
    /// In two buffers of the caller's, each tensor `gap` elements behind the one before.
    Own {
        gap: usize,
    },
    /// In one buffer, each tensor's gradients behind its parameters, `gap` elements between any two.
    One {
        gap: usize,
    },
}

/// The closest that a browser binds parameters and gradients in one buffer, and one element that spoils the alignment.
pub const TOGETHER: Home = Home::One { gap: 73 };

pub const BINDABLE: Home = Home::Arena(Packing::Bindable);

/// Guard words: a NaN pattern, so that any arithmetic on them shows.
pub const GUARD: u32 = 0x7fc0_beef;

/// A set of tensors under test.
pub struct Run<'a> {
    pub gpu: &'a Gpu,
    pub params: ParamSet,
    pub optimizer: Optimizer<AnyRule>,
    pub tensors: Vec<TensorId>,
    /// The caller's buffers, and where each tensor's parameters and gradients start in them.
    pub own: Option<([wgpu::Buffer; 2], Vec<[usize; 2]>)>,
    host: Vec<HostState>,
    /// The steps of each tensor, and what its rule keeps on the host.
    steps: Vec<(u64, HostState)>,
    wrappers: Wrappers,
    configs: Vec<AnyRule>,
    /// Whether some word may be beyond f32, so that intervals have no bounds.
    pub overflows: bool,
}

/// All words of a run: for each tensor its parameters and, for each slot of the rule, its words
/// (none where the slot is not kept).
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    pub theta: Vec<Vec<f32>>,
    /// Of the rule, then of the wrappers; all values one behind the other for a ring.
    pub slots: Vec<Vec<Vec<f32>>>,
    /// The rule's device scalars.
    pub device: Vec<f32>,
}

impl Words {
    /// The bits, so that comparisons see NaN and the sign of zero.
    pub fn bits(&self) -> Vec<u32> {
        let slots = self.slots.iter().flatten().flatten();
        self.theta.iter().flatten().chain(slots).chain(&self.device).map(|x| x.to_bits()).collect()
    }
}

/// The largest error seen, in units of the interval (inside up to 1), and where.
#[derive(Debug, Clone, Default)]
pub struct Worst {
    pub units: f64,
    pub place: String,
    /// Whether some word may be beyond f32, so that an interval has no bound.
    overflows: bool,
}

impl Worst {
    pub fn merge(&mut self, other: Worst) {
        if other.units > self.units || other.units.is_nan() {
            *self = other;
        }
    }

    pub fn see(&mut self, got: f32, (truth, allowed): (f64, Interval), place: impl FnOnce() -> String) {
        let mut units = allowed.error_in_units(truth, f64::from(got));
        // An interval without a bound allows everything, and so says nothing where there is a number to compare.
        let bounded = allowed.low.is_finite() && allowed.high.is_finite();
        if !bounded && !self.overflows && got.is_finite() && truth.abs() <= f64::from(f32::MAX) {
            units = f64::INFINITY;
        }
        if units > self.units || units.is_nan() {
            let place = format!(
                "{}: got {got:e}, truth {truth:e}, allowed [{:e}, {:e}]",
                place(),
                allowed.low,
                allowed.high
            );
            (self.units, self.place) = (units, place);
        }
    }
}

impl<'a> Run<'a> {
    /// `tensors` as (elements, group), with one configuration for each group.
    pub fn new(
        gpu: &'a Gpu,
        configs: &[AnyRule],
        tensors: &[(usize, usize)],
        home: Home,
        options: &Options,
    ) -> Self {
        Self::altered(gpu, configs, tensors, home, options, |_| {})
    }

    /// The same with a program that `alter` changed.
    pub fn altered(
        gpu: &'a Gpu,
        configs: &[AnyRule],
        tensors: &[(usize, usize)],
        home: Home,
        options: &Options,
        alter: impl FnOnce(&mut Program),
    ) -> Self {
        let mut builder = ParamSet::builder();
        let groups: Vec<_> = (0..configs.len()).map(|i| builder.group(format!("group {i}"))).collect();
        let mut own = None;
        let tensors: Vec<TensorId> = match home {
            Home::Arena(packing) => {
                builder.packing(packing);
                let add = |(i, (len, group)): (usize, &(usize, usize))| {
                    builder.tensor(format!("tensor {i}"), shape(*len), groups[*group])
                };
                tensors.iter().enumerate().map(add).collect()
            }
            Home::Own { gap } | Home::One { gap } => {
                let one = matches!(home, Home::One { .. });
                let mut at = gap;
                let mut next = |len: usize| {
                    at += len + gap;
                    at - len - gap
                };
                let starts: Vec<[usize; 2]> = tensors
                    .iter()
                    .map(|(len, _)| {
                        let param = next(*len);
                        [param, if one { next(*len) } else { param }]
                    })
                    .collect();
                let param = guarded_buffer(gpu, at);
                let grad = if one { param.clone() } else { guarded_buffer(gpu, at) };
                let add = |((i, (len, group)), starts): ((usize, &(usize, usize)), &[usize; 2])| {
                    let range = |buffer, start: usize| BufferRange::new(buffer, start as u64 * 4);
                    let (param, grad) = (range(&param, starts[0]), range(&grad, starts[1]));
                    builder.external(format!("tensor {i}"), shape(*len), groups[*group], param, grad)
                };
                let ids = tensors.iter().enumerate().zip(&starts).map(add).collect();
                own = Some(([param, grad], starts));
                ids
            }
        };
        let params = builder.build(&gpu.device).unwrap();
        let limits = Limits::of(&gpu.device);
        let mut program = Program::new(params.layout(), configs, options, &limits).unwrap();
        alter(&mut program);
        let (program, groups) = (program.sealed(), configs.to_vec());
        let optimizer =
            Optimizer::of_program(&gpu.device, &gpu.queue, &params, program, groups, options.wrappers)
                .unwrap();
        let host = vec![HostState::default(); configs.len()];
        let (wrappers, steps) = (options.wrappers, vec![Default::default(); tensors.len()]);
        Self {
            gpu,
            params,
            optimizer,
            tensors,
            own,
            host,
            steps,
            wrappers,
            configs: configs.to_vec(),
            overflows: false,
        }
    }

    /// Holds the steps to come against these wrappers, not against those that the optimizer was made with.
    pub fn expect(&mut self, wrappers: Wrappers) {
        self.wrappers = wrappers;
    }

    pub fn write_theta(&self, theta: &[Vec<f32>]) {
        for (id, values) in self.tensors.iter().zip(theta) {
            self.params.write_param(&self.gpu.queue, *id, values).unwrap();
        }
    }

    pub fn write_gradients(&self, gradients: &[Vec<f32>]) {
        for (id, values) in self.tensors.iter().zip(gradients) {
            self.params.write_grad(&self.gpu.queue, *id, values).unwrap();
        }
    }

    /// Every slot that the rule and the wrappers may have.
    pub fn slot_names(&self) -> Vec<String> {
        self.optimizer.program().slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// Uploads gradients and takes one step.
    pub fn step(&mut self, gradients: &[Vec<f32>]) {
        self.write_gradients(gradients);
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).unwrap();
        self.gpu.submit(encoder);
    }

    /// Everything that the GPU holds.
    pub fn read(&self) -> Words {
        let mut encoder = self.gpu.encoder();
        let kept = self.optimizer.slots();
        let all = self.slot_names();
        let theta: Vec<Download> =
            self.tensors.iter().map(|id| self.params.download_param(&mut encoder, *id).unwrap()).collect();
        let mut slots = vec![];
        for id in &self.tensors {
            for name in all.iter().filter(|name| kept.contains(&name.as_str())) {
                slots.push(self.optimizer.download_slot(&mut encoder, *id, name).unwrap());
            }
        }
        let device = self.optimizer.download_device_scalars(&mut encoder).ok();
        let has_some = self.configs[0].rule().spec().device_scalars().next().is_some();
        let any = self.optimizer.dispatches_per_step() > 0;
        assert_eq!(device.is_some(), has_some && any, "device scalars can be read back");
        self.gpu.submit(encoder);
        let device = resolve(self.gpu, device.into_iter().collect()).concat();
        let theta = resolve(self.gpu, theta);
        let mut slots = resolve(self.gpu, slots).into_iter();
        let slots = self
            .tensors
            .iter()
            .map(|_| {
                all.iter()
                    .map(|name| if kept.contains(&name.as_str()) { slots.next().unwrap() } else { vec![] })
                    .collect()
            })
            .collect();
        Words { theta, slots, device }
    }

    /// One checked step: every word after it against what it may be, given the words before.
    pub fn checked_step(&mut self, before: &Words, gradients: &[Vec<f32>]) -> (Words, Worst) {
        self.checked_step_of(before, gradients, &vec![true; self.tensors.len()])
    }

    /// The same of some tensors; of the others every word has to stay.
    pub fn checked_step_of(
        &mut self,
        before: &Words,
        gradients: &[Vec<f32>],
        acts: &[bool],
    ) -> (Words, Worst) {
        for (id, _) in self.tensors.iter().zip(acts).filter(|(_, acts)| !**acts) {
            self.optimizer.skip(*id).unwrap();
        }
        self.step(gradients);
        let step = self.optimizer.steps();
        let after = self.read();
        let of_group = |(config, host): (&AnyRule, &mut HostState)| host_scalars(config.rule(), step, host);
        let of_groups: Vec<Vec<f64>> = self.configs.iter().zip(&mut self.host).map(of_group).collect();
        let acting: Vec<usize> = (0..acts.len()).filter(|tensor| acts[*tensor]).collect();
        let own: Vec<(u64, Vec<f64>)> = acting
            .iter()
            .map(|tensor| {
                let (t, host) = &mut self.steps[*tensor];
                *t += 1;
                let group = self.params.tensor(self.tensors[*tensor]).unwrap().group;
                (*t, host_scalars(self.configs[group].rule(), *t, host))
            })
            .collect();
        let tensors: Vec<reference::Words<'_>> = acting
            .iter()
            .zip(&own)
            .map(|(tensor, (t, scalars))| {
                let id = self.tensors[*tensor];
                let wgpu_optim::program::Tensor { group, shape, .. } = self.params.tensor(id).unwrap();
                reference::Words {
                    rule: self.configs[*group].rule(),
                    t: *t,
                    scalars,
                    shape,
                    theta: &before.theta[*tensor],
                    g: &gradients[*tensor],
                    evaluates: false,
                    slots: &before.slots[*tensor],
                }
            })
            .collect();
        let mut worst = Worst { overflows: self.overflows, ..Worst::default() };
        for tensor in (0..acts.len()).filter(|tensor| !acts[*tensor]) {
            let bits = |words: &Words| {
                let slots = words.slots[tensor].iter().flatten();
                slots.chain(&words.theta[tensor]).map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            if bits(&after) != bits(before) {
                let place = format!("step {step}: tensor {tensor}, left out of it, changed");
                worst = Worst { units: f64::INFINITY, place, ..worst };
            }
        }
        let device =
            DeviceScalars { rule: self.configs[0].rule(), scalars: &of_groups[0], words: &before.device };
        let (expected, device) = expect_step(&self.wrappers, Some(device), &tensors);
        assert_eq!(device.len(), after.device.len());
        for (i, (got, allowed)) in after.device.iter().zip(device).enumerate() {
            worst.see(*got, allowed, || format!("step {step}, device scalar {i}"));
        }
        for (tensor, expected) in acting.into_iter().zip(expected) {
            for (i, allowed) in expected.theta.iter().enumerate() {
                worst.see(after.theta[tensor][i], *allowed, || {
                    format!("step {step}, tensor {tensor}, theta[{i}]")
                });
            }
            for (slot, allowed) in expected.slots.iter().enumerate() {
                for (i, allowed) in allowed.iter().enumerate() {
                    worst.see(after.slots[tensor][slot][i], *allowed, || {
                        format!("step {step}, tensor {tensor}, {}[{i}]", self.slot_names()[slot])
                    });
                }
            }
        }
        (after, worst)
    }
}

/// A shape of so many elements, for rules that see rows and columns: the closest to a square that there is, its
/// rows cut into two matrices where they can be; a vector for primes and small ones.
pub fn shape(len: usize) -> Vec<usize> {
    let rows = (2..=len.isqrt()).rev().find(|rows| len.is_multiple_of(*rows)).filter(|_| len > 8);
    match rows {
        None => vec![len],
        // A convolution's kernel: the two largest dimensions come first, or have one between them.
        Some(32) => vec![len / 32, 16, 2, 1],
        Some(rows) if rows % 4 == 2 => vec![rows / 2, 2, len / rows],
        Some(rows) if rows % 2 == 0 => vec![2, rows / 2, len / rows],
        Some(rows) => vec![rows, len / rows],
    }
}

/// Awaits downloads that were submitted.
pub fn resolve(gpu: &Gpu, downloads: Vec<Download>) -> Vec<Vec<f32>> {
    let reads = futures::future::join_all(downloads.into_iter().map(Download::read));
    let poll = async { gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap() };
    let (values, _) = pollster::block_on(futures::future::join(reads, poll));
    values.into_iter().map(Result::unwrap).collect()
}

/// A buffer full of guard words.
pub fn guarded_buffer(gpu: &Gpu, words: usize) -> wgpu::Buffer {
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("own"),
        size: words as u64 * 4,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&vec![GUARD; words]));
    buffer
}

/// All words of a buffer.
pub fn read_words(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<u32> {
    // Read through a set of its own, whose one tensor is the whole buffer.
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    let unused = guarded_buffer(gpu, (buffer.size() / 4) as usize);
    let range = |buffer| BufferRange::new(buffer, 0);
    let id = builder.external("all", [(buffer.size() / 4) as usize], group, range(buffer), range(&unused));
    let params = builder.build(&gpu.device).unwrap();
    let mut encoder = gpu.encoder();
    let download = params.download_param(&mut encoder, id).unwrap();
    gpu.submit(encoder);
    resolve(gpu, vec![download])[0].iter().map(|x| x.to_bits()).collect()
}

/// Signed gradients over nine decades, some of them zero. Each element keeps its decade, as the
/// coordinates of a network do.
pub fn gradients(seed: u64, step: u64, lens: &[usize]) -> Vec<Vec<f32>> {
    let make = |(tensor, len): (usize, &usize)| {
        let mut scales = ChaCha8Rng::seed_from_u64(seed ^ ((tensor as u64) << 20));
        let mut values = ChaCha8Rng::seed_from_u64(seed ^ ((tensor as u64) << 20) ^ ((step + 1) << 40));
        let one = |_| {
            let scale = 10f64.powf(scales.random_range(-7.0..2.0));
            let value: f64 = values.random_range(-1.0..1.0);
            if values.random_bool(0.05) { 0.0 } else { (value * scale) as f32 }
        };
        (0..*len).map(one).collect()
    };
    lens.iter().enumerate().map(make).collect()
}

/// Parameters: some zero or as small as an update, where the update itself is visible to its last bit;
/// the rest of order one, where decay is.
pub fn parameters(seed: u64, lens: &[usize]) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfeed);
    let mut one = || {
        let value: f32 = rng.random_range(-1.0..1.0);
        match rng.random_range(0..4) {
            0 => 0.0,
            1 => value * 1e-3,
            2 => value * 1e-6,
            _ => value,
        }
    };
    lens.iter().map(|len| (0..*len).map(|_| one()).collect()).collect()
}

/// `steps` checked steps of two groups (the second at half the rate) over tensors of awkward sizes.
pub fn check(gpu: &Gpu, config: &AnyRule, home: Home, options: &Options, steps: u64) -> Worst {
    check_altered(gpu, config, home, options, steps, |_| {})
}

/// A configuration, and the same at half the rate for a second group.
pub fn with_slower(config: &AnyRule) -> [AnyRule; 2] {
    let mut slower = config.clone();
    if let Some(lr) = config.get("lr") {
        slower.set("lr", 0.5 * lr).unwrap();
    }
    [config.clone(), slower]
}

/// The same with a program that `alter` changed.
pub fn check_altered(
    gpu: &Gpu,
    config: &AnyRule,
    home: Home,
    options: &Options,
    steps: u64,
    alter: impl FnOnce(&mut Program),
) -> Worst {
    let tensors = [(1, 0), (1500, 1), (3, 0), (0, 0), (1024, 0), (7, 0), (2049, 1)];
    let lens = tensors.map(|(len, _)| len);
    let mut run = Run::altered(gpu, &with_slower(config), &tensors, home, options, alter);
    run.write_theta(&parameters(1, &lens));
    let mut words = run.read();
    let mut worst = Worst::default();
    for step in 0..steps {
        let (after, error) = run.checked_step(&words, &gradients(2, step, &lens));
        worst.merge(error);
        words = after;
    }
    worst
}
