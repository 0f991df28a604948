//! J. Zhang, S. P. Karimireddy, A. Veit, S. Kim, S. Reddi, S. Kumar, S. Sra, "Why are Adaptive Methods Good for
//! Attention Models?", 2020: what heavy-tailed gradients do to SGD, and what clipping does about it.

mod contest;
mod contest_report;
mod contest_results;
mod dimension;
mod dimension_report;
mod noise;
mod rate;
mod rate_report;
mod rmsprop;
mod second_moment;

use crate::harness::gpu::{Binding, Gpu, Kernel};
use anyhow::Result;
use wgpu_optim::rule::Config;
use wgpu_optim::{BufferRange, GroupId, Optimizer, ParamSet, wgpu};

pub use contest::EXPERIMENT as CONTEST;
pub use dimension::EXPERIMENT as DIMENSION;
pub use rate::EXPERIMENT as RATE;
pub use rmsprop::EXPERIMENT as RMSPROP;
pub use second_moment::EXPERIMENT as SECOND_MOMENT;

/// Steps recorded into one encoder.
const STEPS_PER_SUBMIT: u32 = 8;

/// Runs of one rule: a group for each configuration, with one tensor each, one behind the other.
struct Sweep<C> {
    param: wgpu::Buffer,
    grad: wgpu::Buffer,
    groups: Vec<GroupId>,
    optimizer: Optimizer<C>,
    elements: usize,
}

impl<C: Config> Sweep<C> {
    /// Tensors of `len` elements that all start at `x`.
    fn new(gpu: &Gpu, configs: Vec<C>, len: usize, x: f32) -> Result<Self> {
        let elements = configs.len() * len;
        let (param, grad) =
            (gpu.upload("parameters", &vec![x; elements]), gpu.storage("gradients", elements));
        let mut params = ParamSet::builder();
        let mut groups = vec![];
        for number in 0..configs.len() {
            let group = params.group(format!("configuration {number}"));
            let offset = 4 * (number * len) as u64;
            let [param, grad] = [&param, &grad].map(|buffer| BufferRange { buffer: buffer.clone(), offset });
            params.external(format!("{number}"), [len], group, param, grad);
            groups.push(group);
        }
        let optimizer = Optimizer::new(&gpu.device, &gpu.queue, &params.build(&gpu.device)?, configs)?;
        Ok(Self { param, grad, groups, optimizer, elements })
    }

    /// gradient.wgsl for these runs, and where it keeps their averages.
    fn gradient(&self, gpu: &Gpu, bank: &wgpu::Buffer, bound: f64) -> Result<(Kernel, wgpu::Buffer)> {
        let average = gpu.storage("averages", self.elements);
        let bindings = [
            Binding::Read(bank.slice(..)),
            Binding::Write(self.param.slice(..)),
            Binding::Write(self.grad.slice(..)),
            Binding::Write(average.slice(..)),
        ];
        let source = include_str!("gradient.wgsl");
        Ok((gpu.kernel_with("gradient", source, &[("BOUND", bound)], &bindings)?, average))
    }

    /// Workgroups of gradient.wgsl.
    fn workgroups(&self) -> u32 {
        self.elements.div_ceil(1024) as u32
    }
}
