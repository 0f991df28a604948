//! MaxVA, figure 1 and section 3: what one abnormal gradient does to the step size.

mod beta;
mod claims;

use crate::Experiment;
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::gpu::{Binding, Gpu};
use crate::harness::report::{Findings, Table};
use crate::harness::stats::{mean, standard_error};
use anyhow::Result;
use bytemuck::{Pod, Zeroable};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::adam::AmsGrad;
use wgpu_optim::rules::{Adam, LaMAdam, LaProp, MAdam};
use wgpu_optim::{Optimizer, ParamSet};

pub const EXPERIMENT: Experiment = Experiment {
    name: "maxva-reaction",
    title: "MaxVA, figure 1 and section 3: how step sizes react to one abnormal gradient",
    run,
};

/// The constant beta, and the largest one of MAdam and LaMAdam.
const BETA: f64 = 0.99;
const ALPHA: f64 = 0.9;
/// When it happens: after five horizons of the averages. And how long they are watched.
const AT: usize = 500;
const AFTER: usize = 600;
/// Steps of the way that an event causes: the horizon of the momentum.
const WAY: usize = 10;
const SEED: u32 = 1;
const SOURCE: &str = "MaxVA, section 3, figure 1";

/// As in the kernels.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Event {
    mean: f32,
    deviation: f32,
    kind: u32,
    size: f32,
    control: u32,
}

const LARGE: usize = 1;
const SMALL: usize = 2;
const LARGE_WITH_MEAN: usize = 4;
const SMALL_WITH_MEAN: usize = 5;
const QUIETER: usize = 6;
const LOUDER: usize = 7;

const EVENTS: [Event; 8] = {
    let noise = Event { mean: 0.0, deviation: 1.0, kind: 0, size: 0.0, control: 0 };
    let signal = Event { mean: 1.0, deviation: 0.1, kind: 0, size: 0.0, control: 3 };
    [
        noise,
        Event { kind: 1, size: 10.0, ..noise },
        Event { kind: 1, size: 0.01, ..noise },
        signal,
        Event { kind: 1, size: 10.0, ..signal },
        Event { kind: 1, size: 0.01, ..signal },
        Event { kind: 2, size: 0.1, ..noise },
        Event { kind: 2, size: 10.0, ..noise },
    ]
};

/// A value with its standard error.
type Value = (f64, f64);

/// What one rule did.
struct Reaction {
    name: &'static str,
    style: usize,
    coordinates: usize,
    /// By step, momentum (without, with) and event: sums of the difference from the control, its square, the
    /// value itself, its square. Values are the logarithm of the rate, and the size of the step.
    traces: Vec<[f32; 4]>,
    /// By event and coordinate: the way in the steps after it, less the control's; and its direction.
    ways: Vec<[f32; 2]>,
}

impl Reaction {
    fn value(&self, t: usize, with_momentum: bool, event: usize, from: usize) -> Value {
        let sums = self.traces[(2 * t + usize::from(with_momentum)) * EVENTS.len() + event];
        let n = self.coordinates as f64;
        let (value, square) = (f64::from(sums[from]) / n, f64::from(sums[from + 1]) / n);
        (value, ((square - value * value).max(0.0) / (n - 1.0)).sqrt())
    }

    /// Logarithm of the rate over the control's, `after` steps after the event; mean over the coordinates.
    fn log_rate(&self, after: usize, event: usize) -> Value {
        self.value(AT + after, false, event, 0)
    }

    /// Logarithm of the rate itself.
    fn log_level(&self, t: usize, event: usize) -> Value {
        self.value(t, false, event, 2)
    }

    fn step(&self, t: usize, event: usize) -> Value {
        self.value(t, true, event, 2)
    }

    /// How far the event carried a coordinate, in its own direction.
    fn way(&self, event: usize) -> Value {
        let n = self.coordinates;
        let ways: Vec<f64> =
            self.ways[event * n..(event + 1) * n].iter().map(|[way, _]| f64::from(*way)).collect();
        (mean(&ways), standard_error(&ways))
    }

    /// The first step after the event from which on the mean rate is within `share` of the control's.
    fn recovery(&self, event: usize, share: f64) -> Option<usize> {
        let far = (0..AFTER).rev().find(|after| self.log_rate(*after, event).0.abs() > share.ln_1p());
        Some(far.map_or(0, |far| far + 1)).filter(|step| *step < AFTER)
    }
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let n = gpu.pick(2048, 128);
    let adam = |alpha| Adam { lr: 1.0, beta1: alpha, beta2: BETA, eps: 0.0, ..Adam::default() };
    let madam = |alpha| MAdam { lr: 1.0, beta1: alpha, beta_max: BETA, eps: 0.0, ..MAdam::default() };
    let amsgrad = |alpha| Adam { amsgrad: AmsGrad::Raw, ..adam(alpha) };
    let laprop = |alpha| LaProp { lr: 1.0, beta1: alpha, beta2: BETA, eps: 0.0, ..LaProp::default() };
    let lamadam = |alpha| LaMAdam { lr: 1.0, beta1: alpha, beta_max: BETA, eps: 0.0, ..LaMAdam::default() };
    let mut weights = vec![];
    let all = [
        react(gpu, ("Adam", 0, 0.0), n, adam, |_, _| Ok(()))?,
        react(gpu, ("AMSGrad", 2, 0.2), n, amsgrad, |_, _| Ok(()))?,
        react(gpu, ("LaProp", 3, 0.4), n, laprop, |_, _| Ok(()))?,
        react(gpu, ("MAdam", 1, 0.6), n, madam, |t, seen| {
            if beta::STEPS.contains(&t) || beta::STEPS.contains(&(t + 1)) {
                weights.push((t, seen.read(gpu)?));
            }
            Ok(())
        })?,
        react(gpu, ("LaMAdam", 5, 0.8), n, lamadam, |_, _| Ok(()))?,
    ];
    let betas = beta::Betas::new(&weights);
    let mut claims = claims::all(&all);
    claims.extend(betas.claims());
    Ok(Findings {
        claims,
        charts: vec![rates(&all), steps(&all), betas.chart()],
        tables: vec![table(&all), betas.table()],
        notes: format!(
            "The caption of figure 1 and its settings are not in the text. Here: {n} coordinates an event, \
             gradients N(0, 1) or N(1, 0.1^2), beta = {BETA} (MAdam and LaMAdam: 0.5 to {BETA}), eps = 0, \
             and at step {AT}, after five horizons of the averages, one gradient of size 10 or 0.01, or a \
             noise that falls to a tenth or rises tenfold. Every rule and event sees the same noise, so \
             that a coordinate is compared with itself without the event. The rate is 1/sqrt(v) as the \
             step shows it, without momentum (alpha = 0), where LaProp is Adam and LaMAdam is MAdam; steps \
             are with alpha = {ALPHA}. AMSGrad takes the maximum of v (PyTorch's form).\n\n\
             A small gradient is abnormal only where gradients have a mean larger than their noise: in \
             noise around zero it is well within the deviation, R < 1, and MaxVA, like Adam, keeps its \
             largest beta. Equation 8 prints w_t where w_(t-1) is meant."
        ),
    })
}

/// What is there between two steps.
struct Seen<'a, C> {
    optimizer: &'a Optimizer<C>,
    tensor: wgpu_optim::TensorId,
    g: wgpu_optim::wgpu::BufferSlice<'a>,
    words: usize,
}

impl<C: Config> Seen<'_, C> {
    /// Slots u, S and w and the gradients, without momentum.
    fn read(&self, gpu: &Gpu) -> Result<[Vec<f32>; 4]> {
        let slot = |name| self.optimizer.read_slot_blocking(&gpu.queue, self.tensor, name);
        let first = (self.g.offset() / 4) as usize;
        let g = gpu.read(self.g.buffer(), first..first + self.words)?;
        Ok([slot("u")?, slot("S")?, slot("w")?, g])
    }
}

/// Runs one rule through all events, without momentum and with it: two groups, one dispatch a step.
fn react<C: Config>(
    gpu: &Gpu,
    (name, style, progress): (&'static str, usize, f64),
    n: usize,
    rule: impl Fn(f64) -> C,
    mut look: impl FnMut(usize, Seen<'_, C>) -> Result<()>,
) -> Result<Reaction> {
    let words = EVENTS.len() * n;
    let (theta, g) = (gpu.storage("theta", 2 * words), gpu.storage("g", 2 * words));
    let mut builder = ParamSet::builder();
    let at = |buffer, half: usize| wgpu_optim::BufferRange::new(buffer, (4 * half * words) as u64);
    let tensors = ["without momentum", "with momentum"].iter().enumerate().map(|(half, label)| {
        let group = builder.group(*label);
        builder.external(*label, [words], group, at(&theta, half), at(&g, half))
    });
    let tensor = tensors.collect::<Vec<_>>()[0];
    let params = builder.build(&gpu.device)?;
    let mut optimizer = Optimizer::new(&gpu.device, &gpu.queue, &params, [rule(0.0), rule(ALPHA)])?;

    let events = gpu.upload("events", &EVENTS);
    let count = (AT + AFTER) * 2 * EVENTS.len();
    let (ways, traces) = (gpu.storage("ways", 2 * words), gpu.storage("traces", 4 * count));
    let constants = [("N", n as f64), ("AT", AT as f64)];
    let with = |name, value: f64| [constants[0], constants[1], (name, value)];
    let bindings =
        [Binding::Read(events.slice(..)), Binding::Write(theta.slice(..)), Binding::Write(g.slice(..))];
    let seed = with("SEED", f64::from(SEED));
    let gradients = gpu.kernel_with("reaction", include_str!("reaction.wgsl"), &seed, &bindings)?;
    let bindings = [
        Binding::Read(events.slice(..)),
        Binding::Read(theta.slice(..)),
        Binding::Read(g.slice(..)),
        Binding::Write(ways.slice(..)),
        Binding::Write(traces.slice(..)),
    ];
    let way = with("WAY", WAY as f64);
    let source = include_str!("measure.wgsl");
    let measure = gpu.kernel_with("reaction_measure", source, &way, &bindings)?;

    let mut encoder = gpu.encoder();
    for t in 1..AT + AFTER {
        let step = optimizer.prepare(&mut encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        gradients.record(&mut pass, t as u32, n.div_ceil(64) as u32);
        step.encode(&mut pass);
        measure.record(&mut pass, t as u32, 2 * EVENTS.len() as u32);
        drop(pass);
        // Slots are looked at in the first steps and around the event.
        let looks = t < 32 || t % 32 == 0 || t.abs_diff(AT) < 4;
        if looks || t % 8 == 0 {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
        }
        if looks {
            gpu.progress(progress + 0.2 * t as f64 / (AT + AFTER) as f64, name);
            look(t, Seen { optimizer: &optimizer, tensor, g: g.slice(..4 * words as u64), words })?;
        }
    }
    gpu.submit(encoder);
    let traces = gpu.read::<f32>(&traces, 0..4 * count)?;
    let traces = bytemuck::cast_slice(&traces).to_vec();
    let ways = bytemuck::cast_slice(&gpu.read::<f32>(&ways, 0..2 * words)?).to_vec();
    Ok(Reaction { name, style, coordinates: n, traces, ways })
}

fn rates(all: &[Reaction]) -> Chart {
    let panel = |title: &str, event: usize| {
        let series = |rule: &Reaction, label: &str| {
            let point = |t: usize| {
                let (log, _) = rule.value(t, false, event, 0);
                (t as f64 - AT as f64, log.exp())
            };
            Series::line(label, (AT - 20..AT + AFTER).map(point).collect()).style(rule.style)
        };
        let series = vec![
            series(&all[0], "Adam, LaProp"),
            series(&all[1], "AMSGrad"),
            series(&all[3], "MAdam, LaMAdam"),
        ];
        let y = Axis::new("rate 1/sqrt(v), relative to the undisturbed").log();
        Panel::new(title, Axis::new("steps after the event"), y, series)
    };
    Chart {
        name: "maxva-reaction".into(),
        title: format!("The adaptive rate after one abnormal gradient (beta = {BETA}, without momentum)"),
        columns: 2,
        panels: vec![
            panel("one gradient of 10, noise N(0, 1)", LARGE),
            panel("one gradient of 10, noise N(1, 0.1²)", LARGE_WITH_MEAN),
            panel("one gradient of 0.01, noise N(0, 1)", SMALL),
            panel("one gradient of 0.01, noise N(1, 0.1²)", SMALL_WITH_MEAN),
            panel("the noise falls from N(0, 1) to N(0, 0.1²)", QUIETER),
            panel("the noise rises from N(0, 1) to N(0, 10²)", LOUDER),
        ],
    }
}

fn steps(all: &[Reaction]) -> Chart {
    let panel = |title: &str, event: usize| {
        let series = |rule: &Reaction| {
            let point = |t: usize| (t as f64 - AT as f64, rule.step(t, event).0);
            Series::line(rule.name, (AT - 10..AT + 50).map(point).collect()).style(rule.style)
        };
        let y = Axis::new("mean size of the step / lr");
        Panel::new(title, Axis::new("steps after the event"), y, all.iter().map(series).collect())
    };
    Chart {
        name: "maxva-reaction-steps".into(),
        title: format!("The steps around one abnormal gradient (beta = {BETA}, alpha = {ALPHA})"),
        columns: 2,
        panels: vec![
            panel("one gradient of 10, noise N(0, 1)", LARGE),
            panel("one gradient of 10, noise N(1, 0.1²)", LARGE_WITH_MEAN),
            panel("one gradient of 0.01, noise N(0, 1)", SMALL),
            panel("one gradient of 0.01, noise N(1, 0.1²)", SMALL_WITH_MEAN),
        ],
    }
}

fn table(all: &[Reaction]) -> Table {
    let columns = ["rule", "event", "steps_after", "log_rate_over_control", "se", "step_size", "step_se"];
    let names = [
        "none",
        "large",
        "small",
        "none_with_mean",
        "large_with_mean",
        "small_with_mean",
        "quieter",
        "louder",
    ];
    let mut table = Table::new("maxva-reaction", &columns);
    for rule in all {
        for (event, name) in names.iter().enumerate() {
            let every = |after: &i64| *after < 50 || after % 10 == 0;
            for after in (-20..AFTER as i64).filter(every) {
                let t = (AT as i64 + after) as usize;
                let ((rate, error), (step, step_error)) =
                    (rule.value(t, false, event, 0), rule.step(t, event));
                table.row(&[&rule.name, name, &after, &rate, &error, &step, &step_error]);
            }
        }
    }
    table
}
