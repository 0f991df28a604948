//! Claim: decoupled decay is what a rule declares as its decay, and nothing else: it is rounded once with the step, and
//! the cautious mask, which holds back steps, leaves it alone in every rule.

mod common;

use common::run::{BINDABLE, Run};
use common::{Gpu, gpu_main, trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wgpu_optim::reference::Reference;
use wgpu_optim::rule::{Config, HostState, Number, Real, Rule};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Options, Wrappers, equation, numbers};

fn cautious() -> Wrappers {
    Wrappers { cautious: true, ..Wrappers::default() }
}

/// One tensor, from `theta` on, through all of `gradients`: parameters after each step.
fn path(
    gpu: &Gpu,
    rule: &AnyRule,
    wrappers: Wrappers,
    theta: &[f32],
    gradients: &[Vec<f32>],
) -> Vec<Vec<f32>> {
    let mut options = Options::default();
    options.wrappers = wrappers;
    let mut run = Run::new(gpu, std::slice::from_ref(rule), &[(theta.len(), 0)], BINDABLE, &options);
    run.write_theta(&[theta.to_vec()]);
    let mut step = |g: &Vec<f32>| {
        run.step(std::slice::from_ref(g));
        run.read().theta.remove(0)
    };
    gradients.iter().map(&mut step).collect()
}

fn rule(json: &str) -> AnyRule {
    AnyRule::from_json(json).unwrap()
}

#[track_caller]
fn close(got: f32, want: f64) {
    assert!((f64::from(got) - want).abs() <= 1e-3 * want.abs(), "got {got}, want {want}");
}

/// theta 4, g = -1 twice: each step goes against its gradient, so nothing is masked; decay is 0.1 of theta a step. What
/// the step and the decay do together goes with the gradient, and was masked when the mask saw both.
fn decay_larger_than_the_step(gpu: &Gpu) {
    for (json, want) in [
        (r#"{"optimizer": "adan", "lr": 0.1, "weight_decay": 1}"#, 3.479),
        (r#"{"optimizer": "schedule_free_adamw", "lr": 0.1, "weight_decay": 1}"#, 3.55),
        (r#"{"optimizer": "prodigy", "lr": 0.1, "d0": 0.1, "weight_decay": 1}"#, 3.9942),
        (r#"{"optimizer": "adam", "lr": 0.1, "weight_decay": 1, "weight_decay_mode": "decoupled"}"#, 3.43),
        (r#"{"optimizer": "sgd", "lr": 0.1, "weight_decay": 1, "weight_decay_mode": "decoupled"}"#, 3.43),
    ] {
        let g = vec![vec![-1.0]; 2];
        let masked = path(gpu, &rule(json), cautious(), &[4.0], &g);
        let plain = path(gpu, &rule(json), Wrappers::default(), &[4.0], &g);
        assert_eq!(masked, plain, "{json}: nothing is masked");
        close(masked[1][0], want);
        let mut reference =
            Reference::new([rule(json)], [(0, vec![4.0])]).unwrap().wrapped(cautious()).unwrap();
        (0..2).for_each(|_| reference.step(&[vec![-1.0]]).unwrap());
        close(masked[1][0], reference.tensors()[0].theta[0]);
    }
}

/// RAdam that skips its first steps moves nothing then, whatever the mask says.
fn skipped_steps_do_not_decay(gpu: &Gpu) {
    let json = r#"{"optimizer": "radam", "lr": 0.1, "weight_decay": 1, "fallback": "skip"}"#;
    let theta = [1.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9];
    let mut g = vec![1.0; 8];
    g[0] = -1.0;
    assert_eq!(path(gpu, &rule(json), cautious(), &theta, &[g]), [theta]);
}

/// A rule with a host scalar of its own named `keep`, which is no decay.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
struct Kept {
    lr: f64,
}

equation! {
    hyper { lr: real, keep: real }
    state {}
}

impl Rule for Kept {
    const NAME: &'static str = "kept";
    const WGSL: &'static str = "
        struct Hyper { lr: f32, keep: f32 }
        struct State { none: f32 }
        fn update(theta: f32, g: f32, s: ptr<function, State>, h: Hyper) -> f32 {
            return h.lr * h.keep * g;
        }
    ";
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    fn update<R: Real>(_: R, g: R, _: &mut State<R>, h: &Hyper<R>) -> R {
        h.lr * h.keep * g
    }
    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        Hyper { lr: self.lr, keep: 0.5 }
    }
    const NUMBERS: &'static [Number<Self>] = &numbers! { Self; lr: AtLeast(0.0) };
    fn variants() -> Vec<Self> {
        vec![Self { lr: 0.1 }]
    }
    fn example() -> Self {
        Self { lr: 0.1 }
    }
}

fn names_are_free(gpu: &Gpu) {
    close(path(gpu, &AnyRule::new(Kept { lr: 0.1 }), cautious(), &[1.0], &[vec![1.0]])[0][0], 0.95);
}

/// Decay of a ten-millionth a step, beside steps a hundred times as large: theta is rounded once in a step, so the decay
/// of thousands of steps comes out. (As a factor 1 - lr wd in f32 it would be 8 % off.)
fn small_decay_adds_up(gpu: &Gpu) {
    let config =
        rule(r#"{"optimizer": "sgd", "lr": 1e-5, "weight_decay": 0.01, "weight_decay_mode": "decoupled"}"#);
    // Of many sizes, so that the roundings of theta are not all the same one.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut g = |i: i32| vec![if i % 2 == 0 { 1.0 } else { -1.0 } * rng.random_range(0.5..1.5f32)];
    let gradients: Vec<Vec<f32>> = (0..2000).map(&mut g).collect();
    let last = path(gpu, &config, Wrappers::default(), &[1.3], &gradients)[1999][0];
    let decayed = |rule: AnyRule| {
        let mut reference = Reference::new([rule], [(0, vec![f64::from(1.3f32)])]).unwrap();
        gradients.iter().for_each(|g| reference.step(&[vec![f64::from(g[0])]]).unwrap());
        reference.tensors()[0].theta[0]
    };
    let truth = decayed(config.clone());
    let mut without = config;
    without.set("weight_decay", 0.0).unwrap();
    let decay = decayed(without) - truth;
    let error = (f64::from(last) - truth) / decay;
    println!("decay {decay:e}, off by {:.2} %", 100.0 * error);
    // 0.6 % is the standard deviation of the sum of 2000 roundings.
    assert!(decay > 1e-4 && error.abs() < 0.02, "decay {decay:e} is off by {error}");
}

/// A parameter whose step goes with its gradient does not move, and with decay moves by that alone.
fn masked_parameters_only_decay(gpu: &Gpu, config: &AnyRule) {
    // Momentum builds up on the first gradients; the last one is small and the other way.
    let mut gradients = vec![vec![1.0; 6]; 8];
    gradients.push(vec![-1e-3, 1.0, -1e-3, 1.0, -1e-3, 1.0]);
    let theta = [4.0; 6];
    let with = path(gpu, config, cautious(), &theta, &gradients);
    let mut reference =
        Reference::new([config.clone()], [(0, vec![4.0; 6])]).unwrap().wrapped(cautious()).unwrap();
    let wide = |g: &[f32]| g.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    gradients.iter().for_each(|g| reference.step(&[wide(g)]).unwrap());
    let mut without = config.clone();
    without.set("weight_decay", 0.0).unwrap();
    let still = path(gpu, &without, cautious(), &theta, &gradients);
    let moves = |path: &[Vec<f32>], i: usize| f64::from(path[7][i]) - f64::from(path[8][i]);
    let masked: Vec<usize> = [0, 2, 4].into_iter().filter(|i| moves(&still, *i) == 0.0).collect();
    for i in masked {
        let decay = moves(&with, i) / f64::from(with[7][i]);
        assert!((0.0..0.5).contains(&decay), "theta[{i}] decays by {decay}");
    }
    for (got, want) in with[8].iter().zip(&reference.tensors()[0].theta) {
        assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0), "got {got}, reference {want}");
    }
}

/// What holds on a device.
type Claim = fn(&Gpu);

pub fn main() {
    gpu_main("decay", |adapter| {
        let claims: [(&str, Claim); 4] = [
            ("small decay adds up", small_decay_adds_up),
            ("decay larger than the step", decay_larger_than_the_step),
            ("skipped steps do not decay", skipped_steps_do_not_decay),
            ("names of host scalars are free", names_are_free),
        ];
        let mut trials: Vec<_> =
            claims.into_iter().map(|(name, claim)| trial(adapter, name, claim)).collect();
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                if !config.rule().spec().decays || config.get("weight_decay").is_none_or(|wd| wd == 0.0) {
                    continue;
                }
                let name = format!("{} variant {i}: masked parameters only decay", entry.name);
                trials.push(trial(adapter, name, move |gpu| masked_parameters_only_decay(gpu, &config)));
            }
        }
        trials
    });
}
