//! Theorem 8 against corollary 7: how the error of clipping each coordinate, and of clipping the norm, depends on
//! the number of coordinates.

use super::dimension_report::{Case, Setting, findings};
use super::noise::{Bank, Noise};
use super::{STEPS_PER_SUBMIT, Sweep};
use crate::Experiment;
use crate::harness::gpu::{Binding, Gpu, Kernel};
use crate::harness::report::Findings;
use anyhow::Result;
use wgpu_optim::rules::{CClip, GClip, Sgd};
use wgpu_optim::wgpu;

pub const EXPERIMENT: Experiment = Experiment {
    name: "heavy-tails-dimension",
    title: "Heavy tails, theorem 8 and corollary 7: CClip and GClip in 1 to 4096 dimensions",
    run,
};

pub const ALPHA: f64 = 1.5;
/// Tail index of the noise.
pub const TAIL: f64 = 1.6;
/// `E|g_i|^ALPHA <= B^ALPHA` while |x_i| is at most 0.5.
pub const B: f64 = 1.5;
/// Dimensions, and runs of each.
pub const SIZES: [(usize, usize); 7] =
    [(1, 512), (4, 512), (16, 256), (64, 128), (256, 64), (1024, 16), (4096, 8)];
/// A tuned threshold is the theory's times one of these, a tuned rate likewise.
pub const THRESHOLDS: [f64; 6] = [1.0, 1.0 / 8.0, 1.0 / 64.0, 1.0 / 512.0, 1.0 / 4096.0, 1.0 / 32768.0];
pub const RATES: [f64; 4] = [1.0, 4.0, 16.0, 64.0];
pub const NOISES: [&str; 2] = ["one-sided", "symmetric"];
const SEED: u32 = 63;

/// As in the kernels.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Run {
    start: u32,
    coordinates: u32,
    threshold: f32,
    exponent: f32,
}

/// The first is as printed, the second with the corrected exponent; then what a search may choose.
fn settings() -> Vec<Setting> {
    let printed = Setting { rate: 1.0, threshold: 1.0, exponent: ALPHA - 1.0 };
    let searched = RATES
        .into_iter()
        .flat_map(|rate| THRESHOLDS.map(|threshold| Setting { rate, threshold, exponent: 1.0 / ALPHA }));
    std::iter::once(printed).chain(searched).collect()
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let (sizes, steps) = gpu.pick((&SIZES[..], 512), (&SIZES[..4], 64));
    let settings = settings();
    let len: usize = NOISES.len() * sizes.iter().map(|(d, runs)| d * runs).sum::<usize>();
    let noises = [Noise::one_sided(TAIL, ALPHA), Noise::symmetric(TAIL, ALPHA)];
    let bank = Bank::new(gpu, &noises, len / NOISES.len(), SEED)?;

    let cclip = settings.iter().map(|_| CClip::default()).collect();
    let mut cclip = Sweep::new(gpu, cclip, len, 0.5)?;
    let (cclip_gradient, cclip_average) = cclip.gradient(gpu, &bank.buffer, f64::from(f32::MAX))?;
    let gclip = settings.iter().map(|_| Sgd::default()).collect();
    let mut gclip = Sweep::new(gpu, gclip, len, 0.5)?;
    let runs = runs(&settings, sizes);
    let gclip_average = gpu.storage("averages", gclip.elements);
    let run_buffer = gpu.upload("runs", &runs);
    let gclip_gradient = gpu.kernel(
        "clipped gradient",
        include_str!("dimension_gclip.wgsl"),
        &[
            Binding::Read(bank.buffer.slice(..)),
            Binding::Write(gclip.param.slice(..)),
            Binding::Write(gclip.grad.slice(..)),
            Binding::Write(gclip_average.slice(..)),
            Binding::Read(run_buffer.slice(..)),
        ],
    )?;
    // One run of the library's own GClip, to hold the kernel's clipping against.
    let (d, _) = sizes[sizes.len() / 2];
    let checked = runs.iter().position(|run| run.coordinates == d as u32 && run.exponent > 0.6).unwrap_or(0);
    let mut own = OwnGClip::new(gpu, &bank.buffer, runs[checked], len)?;

    let mut encoder = gpu.encoder();
    for k in 1..=steps {
        for ((setting, cclip_group), gclip_group) in settings.iter().zip(&cclip.groups).zip(&gclip.groups) {
            let lr = setting.rate * 4.0 / (f64::from(k) + 1.0);
            let group = cclip.optimizer.group_mut(*cclip_group)?;
            group.lr = lr;
            group.threshold = setting.threshold * B * f64::from(k).powf(setting.exponent);
            gclip.optimizer.group_mut(*gclip_group)?.lr = lr;
        }
        let workgroups = cclip.workgroups();
        let cclip = cclip.optimizer.prepare(&mut encoder)?;
        let gclip = gclip.optimizer.prepare(&mut encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bank.record(&mut pass, k);
        cclip_gradient.record(&mut pass, k, workgroups);
        gclip_gradient.record(&mut pass, k, runs.len().div_ceil(64) as u32);
        cclip.encode(&mut pass);
        gclip.encode(&mut pass);
        drop(pass);
        own.step(&mut encoder, k)?;
        if k.is_multiple_of(STEPS_PER_SUBMIT) {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            gpu.progress(f64::from(k) / f64::from(steps), &format!("step {k} of {steps}"));
        }
    }
    gpu.submit(encoder);
    let difference = own.difference(gpu, &gclip.param)?;
    let errors = [
        errors(gpu, &cclip_average, &run_buffer, runs.len())?,
        errors(gpu, &gclip_average, &run_buffer, runs.len())?,
    ];
    let mut cases = vec![];
    for (method, errors) in errors.into_iter().enumerate() {
        let mut errors = errors.into_iter();
        for setting in &settings {
            for noise in 0..NOISES.len() {
                for (d, runs) in sizes {
                    let errors = errors.by_ref().take(*runs).map(f64::from).collect();
                    cases.push(Case { clips_norm: method == 1, setting: *setting, noise, d: *d, errors });
                }
            }
        }
    }
    Ok(findings(&cases, steps, (d, difference)))
}

/// All runs in their order: settings, noises, dimensions. Thresholds are those of GClip.
fn runs(settings: &[Setting], sizes: &[(usize, usize)]) -> Vec<Run> {
    let mut runs = vec![];
    let mut start = 0;
    for setting in settings {
        for (d, count) in (0..NOISES.len()).flat_map(|_| sizes) {
            // The norm of B over all coordinates, in the norm of order ALPHA.
            let norm = B * (*d as f64).powf(1.0 / ALPHA);
            for _ in 0..*count {
                let threshold = (setting.threshold * norm) as f32;
                runs.push(Run {
                    start,
                    coordinates: *d as u32,
                    threshold,
                    exponent: setting.exponent as f32,
                });
                start += *d as u32;
            }
        }
    }
    runs
}

fn errors(gpu: &Gpu, average: &wgpu::Buffer, runs: &wgpu::Buffer, count: usize) -> Result<Vec<f32>> {
    let errors = gpu.storage("errors", count);
    let bindings =
        [Binding::Read(average.slice(..)), Binding::Read(runs.slice(..)), Binding::Write(errors.slice(..))];
    let kernel = gpu.kernel("errors", include_str!("dimension_error.wgsl"), &bindings)?;
    let mut encoder = gpu.encoder();
    kernel.record(&mut encoder.begin_compute_pass(&Default::default()), 0, count.div_ceil(64) as u32);
    gpu.submit(encoder);
    gpu.read(&errors, 0..count)
}

/// A single run by the library's GClip, whose norm is that of all its parameters.
struct OwnGClip {
    run: Run,
    sweep: Sweep<GClip>,
    gradient: Kernel,
    noise: wgpu::Buffer,
    bank: wgpu::Buffer,
    bank_start: u64,
}

impl OwnGClip {
    /// The run number `run` of a bank of `len` numbers.
    fn new(gpu: &Gpu, bank: &wgpu::Buffer, run: Run, len: usize) -> Result<Self> {
        let d = run.coordinates as usize;
        let noise = gpu.storage("noise of one run", d);
        let sweep = Sweep::new(gpu, vec![GClip::default()], d, 0.5)?;
        let (gradient, _) = sweep.gradient(gpu, &noise, f64::from(f32::MAX))?;
        let bank_start = 4 * (run.start as usize % len) as u64;
        Ok(Self { run, sweep, gradient, noise, bank: bank.clone(), bank_start })
    }

    fn step(&mut self, encoder: &mut wgpu::CommandEncoder, k: u32) -> Result<()> {
        encoder.copy_buffer_to_buffer(&self.bank, self.bank_start, &self.noise, 0, self.noise.size());
        let group = self.sweep.optimizer.group_mut(self.sweep.groups[0])?;
        group.lr = 4.0 / (f64::from(k) + 1.0);
        group.max_norm = f64::from(self.run.threshold) * f64::from(k).powf(f64::from(self.run.exponent));
        let workgroups = self.sweep.workgroups();
        let prepared = self.sweep.optimizer.prepare(encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.gradient.record(&mut pass, k, workgroups);
        prepared.encode(&mut pass);
        Ok(())
    }

    /// Largest difference from the same run among these parameters, over the largest parameter.
    fn difference(&self, gpu: &Gpu, param: &wgpu::Buffer) -> Result<f64> {
        let (start, d) = (self.run.start as usize, self.run.coordinates as usize);
        let own: Vec<f32> = gpu.read(&self.sweep.param, 0..d)?;
        let other: Vec<f32> = gpu.read(param, start..start + d)?;
        let size = own.iter().fold(0.0f32, |size, x| size.max(x.abs()));
        let pairs = own.iter().zip(&other);
        Ok((pairs.fold(0.0f32, |most, (x, y)| most.max((x - y).abs())) / size).into())
    }
}
