//! A recorded run against the library: the same gradients and learning rates, on the `f64` reference and on
//! a GPU, and how far each parameter is from the recording after every step.

#![allow(dead_code)] // the example and each test use their share

use super::trajectory::Trajectory;
use futures::future::{join, join_all};
use wgpu_optim::reference::Reference;
use wgpu_optim::rules::Setup;
use wgpu_optim::wgpu;
use wgpu_optim::{Download, Error, Optimizer, OptimizerState, Options, ParamSet, Refusal};

/// The largest distance of a run from its recording.
#[derive(Debug, Clone, Default)]
pub struct Distance {
    /// Worst error relative to the recording's largest displacement.
    pub relative: f64,
    /// Worst error relative to its bound: up to 1 is a match.
    pub share: f64,
    /// Where the worst share is.
    pub place: String,
}

impl Distance {
    /// Whether every parameter was inside its bound after every step.
    pub fn matches(&self) -> bool {
        self.share <= 1.0
    }

    fn see(&mut self, got: f64, want: f64, bound: f64, displacement: f64, place: impl FnOnce() -> String) {
        let error = (got - want).abs();
        // What is not a number is as far away as can be; no error needs no room.
        let ratio = |room: f64| {
            if error == 0.0 {
                0.0
            } else {
                Some(error / room).filter(|x| !x.is_nan()).unwrap_or(f64::INFINITY)
            }
        };
        self.relative = self.relative.max(ratio(displacement));
        if ratio(bound) > self.share {
            self.share = ratio(bound);
            self.place = format!("{}: got {got:e}, recorded {want:e}, bound {bound:e}", place());
        }
    }
}

/// How far the `f64` reference may be from a recording, relative to its largest displacement.
fn reference_tolerance(trajectory: &Trajectory) -> f64 {
    // optax computes this one's decay in f32.
    if trajectory.name == "adafactor_fixed" { 1e-7 } else { 1e-9 }
}

/// How far an `f32` run may be from a recording after step `t` (1 for the first): an `f32` run rounds the
/// parameter itself once or twice a step, whatever the equation.
fn f32_bound(t: usize, displacement: f64, largest: f64) -> f64 {
    5e-6 * displacement + t as f64 * f64::from(f32::EPSILON) * largest
}

/// Replays on the reference in `f64`; needs no GPU.
///
/// # Errors
/// What [`Reference`] refuses.
pub fn on_reference(trajectory: &Trajectory, setup: &Setup) -> Result<Distance, Error> {
    let displacement = trajectory.displacement();
    let bound = reference_tolerance(trajectory) * displacement;
    let exact = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let inits = trajectory.tensors.iter().map(|tensor| (0, exact(&tensor.init)));
    let shapes = trajectory.tensors.iter().map(|tensor| tensor.shape.clone());
    let reference = Reference::new([setup.rule.clone()], inits)?.with_shapes(shapes)?;
    let mut reference = reference.wrapped(setup.wrappers)?;
    let mut distance = Distance::default();
    for (step, lr) in trajectory.lr.iter().enumerate() {
        for group in reference.groups_mut() {
            group.set("lr", *lr).map_err(refused)?;
        }
        let gradients: Vec<_> = trajectory.tensors.iter().map(|tensor| exact(tensor.grad(step))).collect();
        reference.step(&gradients)?;
        for (tensor, run) in trajectory.tensors.iter().zip(reference.tensors()) {
            for (i, (got, want)) in run.theta.iter().zip(tensor.param(step)).enumerate() {
                let place = || format!("reference, step {}, {}[{i}]", step + 1, tensor.name);
                distance.see(*got, *want, bound, displacement, place);
            }
        }
    }
    Ok(distance)
}

/// Replays on a GPU, all tensors in one group; also says how many dispatches a step took.
///
/// # Errors
/// What [`ParamSet`] and [`Optimizer`] refuse, and [`Error::DeviceLost`].
pub fn on_gpu(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    trajectory: &Trajectory,
    setup: &Setup,
) -> Result<(Distance, usize), Error> {
    on_gpu_from(device, queue, trajectory, setup, None)
}

/// The same from a state of the run, which says how many steps were taken.
pub fn on_gpu_from(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    trajectory: &Trajectory,
    setup: &Setup,
    state: Option<&OptimizerState>,
) -> Result<(Distance, usize), Error> {
    let (displacement, largest) = (trajectory.displacement(), trajectory.largest());
    let mut builder = ParamSet::builder();
    let group = builder.group(&trajectory.name);
    let ids: Vec<_> =
        trajectory.tensors.iter().map(|tensor| builder.tensor(&tensor.name, &tensor.shape, group)).collect();
    let params = builder.build(device)?;
    let mut options = Options::default();
    options.wrappers = setup.wrappers;
    let mut optimizer = Optimizer::with_options(device, queue, &params, [setup.rule.clone()], &options)?;
    for (id, tensor) in ids.iter().zip(&trajectory.tensors) {
        params.write_param(queue, *id, &tensor.init)?;
    }
    if let Some(state) = state {
        params.load_params(queue, state)?;
        optimizer.load_state(state)?;
    }
    let mut distance = Distance::default();
    for (step, lr) in trajectory.lr.iter().enumerate().skip(optimizer.steps() as usize) {
        optimizer.group_mut(group)?.set("lr", *lr).map_err(refused)?;
        for (id, tensor) in ids.iter().zip(&trajectory.tensors) {
            params.write_grad(queue, *id, tensor.grad(step))?;
        }
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        optimizer.step(&mut encoder)?;
        let downloads =
            ids.iter().map(|id| params.download_param(&mut encoder, *id)).collect::<Result<Vec<_>, _>>()?;
        queue.submit([encoder.finish()]);

        let bound = f32_bound(step + 1, displacement, largest);
        for (tensor, run) in trajectory.tensors.iter().zip(resolve(device, downloads)?) {
            for (i, (got, want)) in run.iter().zip(tensor.param(step)).enumerate() {
                let place = || format!("GPU, step {}, {}[{i}]", step + 1, tensor.name);
                distance.see(f64::from(*got), *want, bound, displacement, place);
            }
        }
    }
    Ok((distance, optimizer.dispatches_per_step()))
}

/// Waits for downloads that were submitted.
fn resolve(device: &wgpu::Device, downloads: Vec<Download>) -> Result<Vec<Vec<f32>>, Error> {
    let reads = join_all(downloads.into_iter().map(Download::read));
    let poll = async { device.poll(wgpu::PollType::wait_indefinitely()) };
    // The reads first ask for their mappings, then `poll` waits for them.
    let (values, polled) = pollster::block_on(join(reads, poll));
    polled.map_err(|error| Error::DeviceLost { reason: error.to_string() })?;
    values.into_iter().collect()
}

fn refused(refusal: Refusal) -> Error {
    Error::Config { group: "0".into(), refusal }
}
