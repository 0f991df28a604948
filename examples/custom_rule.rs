//! A rule of your own, through the door that the library's rules use: the equation once in WGSL, for
//! the GPU, and once in Rust, as its reference.
//!
//! The rule is Grams (Y. Cao, X. Li, Z. Song, "Grams: Gradient Descent with Adaptive Momentum Scaling",
//! 2024): Adam decides how far each parameter moves, the present gradient decides in which direction.
//! Here it solves a small least-squares problem, with decay on the weights and none on the bias, and every
//! word that the GPU writes is held against what the equation allows.
//!
//! ```text
//! cargo run --release --example custom_rule
//! ```

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use wgpu_optim::reference::{Words, expect_step, host_scalars};
use wgpu_optim::rule::{HostState, Number, Real, Rule, beta_power};
use wgpu_optim::wgpu;
use wgpu_optim::{Optimizer, ParamSet, TensorId, Wrappers};

// ------------------------------------------------------------------------------------- the rule

/// The configuration of one parameter group.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Grams {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

impl Default for Grams {
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

// The host scalars (what is set, and what follows from the number of steps taken) and the slots, in the order of the two
// structs in the WGSL.
wgpu_optim::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, eps: real,
        lr: real, lr_wd: real, inv_bc1: counted, inv_bc2: counted,
    }
    state { m, v }
}

impl Rule for Grams {
    const NAME: &'static str = "grams";

    const WGSL: &'static str = "
        struct Hyper {
            beta1: f32,
            one_minus_beta1: f32,
            beta2: f32,
            one_minus_beta2: f32,
            eps: f32,
            lr: f32,
            lr_wd: f32,
            inv_bc1: f32,
            inv_bc2: f32,
        }

        struct State {
            m: f32,
            v: f32,
        }

        fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
            (*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;
            (*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);
            let size = abs((*s).m) / (sqrt((*s).v * h.inv_bc2) + h.eps);
            return h.lr * h.inv_bc1 * (sign(g) * size);
        }

        fn decay(theta: f32, h: Hyper) -> f32 {
            return h.lr_wd * theta;
        }
    ";

    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    /// The same lines as in the WGSL; `R` is `f64` for the truth and an interval for what is allowed.
    fn update<R: Real>(_: R, g: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let size = s.m.abs() / ((s.v * h.inv_bc2).sqrt() + h.eps);
        h.lr * h.inv_bc1 * (g.sign() * size)
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    /// What follows from the number of steps is computed here, in f64, and never in the shader.
    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            eps: self.eps,
            lr: self.lr,
            lr_wd: self.lr * self.weight_decay,
            inv_bc1: 1.0 / (1.0 - beta_power(self.beta1, t)),
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
        }
    }

    /// Names and ranges: for messages, for schedules, and for reading the configuration from JSON.
    const NUMBERS: &'static [Number<Self>] = &wgpu_optim::numbers! {
        Self; lr: AtLeast(0.0), beta1: HalfOpen(0.0, 1.0), beta2: HalfOpen(0.0, 1.0), eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn variants() -> Vec<Self> {
        vec![Self { weight_decay: 0.1, ..Self::default() }]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}

// ------------------------------------------------------------------------------------ using it

const STEPS: u64 = 300;

fn main() -> anyhow::Result<()> {
    let (device, queue, adapter) = open()?;

    let mut builder = ParamSet::builder();
    let groups = [builder.group("decay"), builder.group("no decay")];
    let tensors = [builder.tensor("weight", [WEIGHTS], groups[0]), builder.tensor("bias", [1], groups[1])];
    let params = builder.build(&device)?;
    let no_decay = Grams::default();
    let decay = Grams { weight_decay: 1e-3, ..no_decay };
    let mut optimizer = Optimizer::new(&device, &queue, &params, [decay, no_decay])?;
    println!("{adapter}: dispatches a step, for both groups: {}", optimizer.dispatches_per_step());

    // The words that the GPU holds: parameters, then slots, for each tensor.
    let read = |optimizer: &Optimizer<Grams>| {
        let words = |tensor: TensorId| {
            let theta = params.read_param_blocking(&queue, tensor)?;
            let m = optimizer.read_slot_blocking(&queue, tensor, "m")?;
            let v = optimizer.read_slot_blocking(&queue, tensor, "v")?;
            Ok::<_, wgpu_optim::Error>((theta, vec![m, v]))
        };
        Ok::<_, wgpu_optim::Error>([words(tensors[0])?, words(tensors[1])?])
    };

    let mut before = read(&optimizer)?;
    let mut host = [HostState::default(); 2];
    let (mut loss, mut worst) = (f32::INFINITY, 0f64);
    for t in 1..=STEPS {
        // On the CPU, to keep this short; in examples/train the GPU computes them.
        let (gradients, now) = gradients(&before[0].0, before[1].0[0]);
        for (tensor, g) in tensors.iter().zip(&gradients) {
            params.write_grad(&queue, *tensor, g)?;
        }
        for group in groups {
            optimizer.group_mut(group)?.lr = 0.05 * (1.0 - (t - 1) as f64 / STEPS as f64);
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);

        // Every word against what a conforming GPU may make of the words before.
        let after = read(&optimizer)?;
        let rules = [optimizer.group(groups[0])?, optimizer.group(groups[1])?];
        let scalars = [0, 1].map(|i| host_scalars(rules[i], t, &mut host[i]));
        let words = [0, 1].map(|i| {
            let ((theta, slots), g) = (&before[i], &gradients[i]);
            Words { rule: rules[i], t, scalars: &scalars[i], shape: &[], theta, g, evaluates: false, slots }
        });
        let (expected, _) = expect_step(&Wrappers::default(), None, &words);
        for (i, expected) in expected.into_iter().enumerate() {
            let expected = expected.theta.iter().chain(expected.slots.iter().flatten());
            let words = after[i].0.iter().chain(after[i].1.iter().flatten());
            for ((truth, allowed), word) in expected.zip(words) {
                let error = allowed.error_in_units(*truth, f64::from(*word));
                ensure!(error <= 1.0, "step {t}: the GPU has {word:e}; allowed is {allowed:?}");
                worst = worst.max(error);
            }
        }
        (before, loss) = (after, now);
        if t == 1 || t % 50 == 0 {
            println!("step {t:>3}: loss {loss:.1e}, worst error {worst:.3} of the allowed interval");
        }
    }
    ensure!(loss < 1e-3, "it did not converge: the loss is {loss}");
    Ok(())
}

// ----------------------------------------------------------------------------------- a problem

const WEIGHTS: usize = 20;
const POINTS: usize = 100;

/// Gradients of weight and bias of `mean((x weight + bias - y)^2)`, where weights `target` and a bias of
/// 0.5 made the `y`, and that mean.
fn gradients(weight: &[f32], bias: f32) -> ([Vec<f32>; 2], f32) {
    let x = |point: usize, j: usize| ((point * WEIGHTS + j + 1) as f64).powi(2).sin() as f32;
    let target = |j: usize| 0.1 * j as f32 - 1.0;
    let (mut dw, mut db, mut loss) = (vec![0f32; WEIGHTS], 0f32, 0f32);
    for point in 0..POINTS {
        let error = (0..WEIGHTS).map(|j| x(point, j) * (weight[j] - target(j))).sum::<f32>() + bias - 0.5;
        let share = 2.0 * error / POINTS as f32;
        dw.iter_mut().enumerate().for_each(|(j, dw)| *dw += share * x(point, j));
        db += share;
        loss += error * error / POINTS as f32;
    }
    ([dw, vec![db]], loss)
}

/// Any adapter, a software one if need be.
fn open() -> anyhow::Result<(wgpu::Device, wgpu::Queue, String)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .context("no adapter: install a Vulkan driver, e.g. `apt-get install mesa-vulkan-drivers`")?;
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu_optim::required_limits(&adapter),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    Ok((device, queue, adapter.get_info().name))
}
