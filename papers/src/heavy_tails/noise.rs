//! Noise distributions, scaled so that a chosen absolute moment is 1, and the bank that draws them.

use crate::harness::gpu::{Binding, Gpu, Kernel};
use anyhow::{Result, ensure};
use wgpu::ComputePass;
use wgpu_optim::wgpu;

/// Points of a numerical integral.
const POINTS: usize = 1 << 14;

/// As in noise.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Noise {
    kind: u32,
    inv_tail: f32,
    scale: f32,
    shift: f32,
}

impl Noise {
    /// Student's t with `tail` degrees of freedom, Gaussian for infinity, with `E|xi|^moment = 1`.
    pub fn symmetric(tail: f64, moment: f64) -> Self {
        let c = tail.recip();
        let cosine = (0..POINTS)
            .map(|i| (std::f64::consts::FRAC_PI_2 * (i as f64 + 0.5) / POINTS as f64).cos().powf(moment))
            .sum::<f64>()
            / POINTS as f64;
        let radius = mean_over_tail(c * moment, |u| stretched(-2.0 * u.ln(), c).powf(moment / 2.0));
        Self { kind: 0, inv_tail: c as f32, scale: (cosine * radius).powf(-1.0 / moment) as f32, shift: 0.0 }
    }

    /// Lomax less its mean, exponential for a tail of infinity, with `E|xi|^moment = 1`.
    pub fn one_sided(tail: f64, moment: f64) -> Self {
        let c = tail.recip();
        let mean = 1.0 / (1.0 - c);
        let size = mean_over_tail(c * moment, |u| (stretched(-u.ln(), c) - mean).abs().powf(moment));
        let scale = size.powf(-1.0 / moment);
        Self { kind: 1, inv_tail: c as f32, scale: scale as f32, shift: (scale * mean) as f32 }
    }

    /// With probability `p` one large value, else 0, less its mean, which is at most 1. Before that
    /// `E|xi|^moment = 1`.
    pub fn rare(p: f64, moment: f64) -> Self {
        let scale = p.powf(-1.0 / moment);
        Self { kind: 2, inv_tail: p as f32, scale: scale as f32, shift: (scale * p) as f32 }
    }

    /// With probability `p` one large value of either sign, else 0, with `E|xi|^moment = 1`.
    pub fn rare_symmetric(p: f64, moment: f64) -> Self {
        Self { kind: 3, shift: 0.0, ..Self::rare(p, moment) }
    }
}

/// As in noise.wgsl.
fn stretched(x: f64, c: f64) -> f64 {
    if c == 0.0 { x } else { (c * x).exp_m1() / c }
}

/// The integral over u in (0, 1) of a function that grows as `u^-power` towards 0: with `u = w^n` it is smooth.
fn mean_over_tail(power: f64, f: impl Fn(f64) -> f64) -> f64 {
    let n = 1.0 / (1.0 - power);
    let at = |i: usize| {
        let w = (i as f64 + 0.5) / POINTS as f64;
        n * w.powf(n - 1.0) * f(w.powf(n))
    };
    (0..POINTS).map(at).sum::<f64>() / POINTS as f64
}

/// One step's noise on the GPU: for each kind so many numbers, the same random bits behind every kind.
pub struct Bank {
    pub buffer: wgpu::Buffer,
    kernel: Kernel,
    groups: u32,
}

impl Bank {
    pub fn new(gpu: &Gpu, noises: &[Noise], count: usize, seed: u32) -> Result<Self> {
        ensure!(count.is_multiple_of(4), "{count} numbers of each kind of noise, which are drawn by fours");
        let buffer = gpu.storage("noise", noises.len() * count);
        let kinds = gpu.upload("kinds of noise", noises);
        let kernel = gpu.kernel_with(
            "noise",
            concat!(include_str!("noise.wgsl"), include_str!("bank.wgsl")),
            &[("SEED", seed.into()), ("COUNT", count as f64)],
            &[Binding::Read(kinds.slice(..)), Binding::Write(buffer.slice(..))],
        )?;
        Ok(Self { kernel, groups: (noises.len() * count).div_ceil(1024) as u32, buffer })
    }

    /// Draws the noise of step `t`.
    pub fn record(&self, pass: &mut ComputePass<'_>, t: u32) {
        self.kernel.record(pass, t, self.groups);
    }
}
