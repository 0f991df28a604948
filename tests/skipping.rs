//! Claims about steps that are skipped on the device, the loss scale, accumulated and zeroed gradients: a
//! skipped step equals no step, for every rule and everything around it; scales follow the reference.

mod common;

use common::run::{BINDABLE, GUARD, Home, Run, TOGETHER, Words, gradients, parameters, read_words, resolve};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::reference::Reference;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Lookahead, LossScale, NonFinite, Options, Wrappers};

const LENS: [usize; 4] = [1, 1500, 7, 4099];
const TENSORS: [(usize, usize); 4] = [(1, 0), (1500, 1), (7, 0), (4099, 0)];

fn around(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.wrappers = wrappers;
    options
}

fn skipping() -> Wrappers {
    Wrappers { non_finite: NonFinite::Skip, ..Wrappers::default() }
}

/// A run of two groups with the parameters of a seed.
fn start<'a>(gpu: &'a Gpu, config: &AnyRule, home: Home, options: &Options) -> Run<'a> {
    let run = Run::new(gpu, &[config.clone(), config.clone()], &TENSORS, home, options);
    run.write_theta(&parameters(1, &LENS));
    run
}

/// The gradients of a step, with something that is not finite in tensor `tensor`.
fn bad(step: u64, tensor: usize, value: f32) -> Vec<Vec<f32>> {
    let mut g = gradients(2, step, &LENS);
    let last = g[tensor].len() - 1;
    g[tensor][last] = value;
    g
}

/// (next loss scale, one over the last one, whether the last step was taken, steps skipped).
fn state(run: &Run<'_>) -> Vec<f32> {
    let mut encoder = run.gpu.encoder();
    let download = run.optimizer.download_skips(&mut encoder).unwrap();
    run.gpu.submit(encoder);
    resolve(run.gpu, vec![download]).concat()
}

fn skipped_step_is_no_step(gpu: &Gpu, config: &AnyRule, options: &Options) {
    let good = |run: &mut Run<'_>, step| run.step(&gradients(2, step, &LENS));
    let mut with = start(gpu, config, BINDABLE, options);
    let mut without = start(gpu, config, BINDABLE, options);
    with.step(&bad(90, 3, f32::NAN));
    for step in 0..5 {
        good(&mut with, step);
        good(&mut without, step);
        if step % 2 == 0 {
            let before = with.read().bits();
            let gradients = bad(91 + step, [0, 1, 2, 3, 0][step as usize], f32::NEG_INFINITY);
            with.step(&gradients);
            assert!(with.read().bits() == before, "step {step}: a skipped step changed something");
        }
    }
    assert!(with.read().bits() == without.read().bits(), "skipped steps left a trace");
    assert_eq!(state(&with)[2..], [0.0, 4.0], "(last step taken, steps skipped)");
    assert_eq!(state(&without)[2..], [1.0, 0.0]);
    // The truth is skipped alike.
    assert_eq!((with.optimizer.steps(), without.optimizer.steps()), (9, 5));
}

/// Through the reference too, which counts the steps taken.
fn reference_skips(gpu: &Gpu) {
    let config = AnyRule::named("radam").unwrap();
    let theta = parameters(1, &LENS);
    let wide = |values: &[Vec<f32>]| -> Vec<Vec<f64>> {
        values.iter().map(|values| values.iter().map(|x| f64::from(*x)).collect()).collect()
    };
    let tensors = TENSORS.iter().zip(wide(&theta)).map(|((_, group), theta)| (*group, theta));
    let mut reference =
        Reference::new([config.clone(), config.clone()], tensors).unwrap().wrapped(skipping()).unwrap();
    let mut run = start(gpu, &config, BINDABLE, &around(skipping()));
    for step in 0..8 {
        let g = if step == 3 { bad(step, 2, f32::INFINITY) } else { gradients(2, step, &LENS) };
        run.step(&g);
        reference.step(&wide(&g)).unwrap();
    }
    assert_eq!(reference.steps(), 7);
    let got = run.read();
    for (got, want) in got.theta.iter().zip(reference.tensors()) {
        for (got, want) in got.iter().zip(&want.theta) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "got {got}, reference {want}");
        }
    }
}

/// More skipped steps than there are rows in most tests, in few submits.
fn many_skipped_steps(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    let options = around(skipping());
    let (mut with, mut without) =
        (start(gpu, &config, BINDABLE, &options), start(gpu, &config, BINDABLE, &options));
    for step in 0..3 {
        with.write_gradients(&bad(step, 1, f32::NAN));
        let mut encoder = gpu.encoder();
        (0..150).for_each(|_| with.optimizer.step(&mut encoder).unwrap());
        gpu.submit(encoder);
        with.step(&gradients(2, step, &LENS));
        without.step(&gradients(2, step, &LENS));
    }
    assert_eq!(state(&with)[2..], [1.0, 450.0]);
    assert!(with.read().bits() == without.read().bits());
}

/// The loss scale falls and grows as the reference's, and changes no bit of what is learned.
fn loss_scale(gpu: &Gpu, config: &AnyRule) {
    let scale = LossScale { initial: 1024.0, growth: 2.0, backoff: 0.25, interval: 3 };
    let scaling = Wrappers { loss_scale: Some(scale), max_grad_norm: Some(20.0), ..Wrappers::default() };
    let plain = Wrappers { loss_scale: None, ..scaling };
    let mut scaled = start(gpu, config, BINDABLE, &around(scaling));
    let mut unscaled = start(gpu, config, BINDABLE, &around(plain));
    let mut reference = Reference::new([config.clone()], [(0, vec![0.5])]).unwrap().wrapped(scaling).unwrap();
    assert!(unscaled.optimizer.loss_scale().is_none() && scaled.optimizer.loss_scale().is_some());
    let mut seen = vec![];
    for step in 0..12 {
        let now = state(&scaled)[0];
        seen.push(now);
        assert_eq!(f64::from(now), reference.loss_scale(), "step {step}");
        // 1e36 overflows under any of the scales.
        let overflows = step == 4 || step == 5;
        let g = gradients(2, step, &LENS);
        let mut large = g.clone();
        large[3][4000] = if overflows { f32::INFINITY } else { g[3][4000] };
        let large: Vec<Vec<f32>> = large.iter().map(|g| g.iter().map(|g| g * now).collect()).collect();
        scaled.step(&large);
        reference.step(&[vec![f64::from(large[3][4000])]]).unwrap();
        if !overflows {
            unscaled.step(&g);
        }
    }
    assert_eq!(seen, [1024., 1024., 1024., 2048., 2048., 512., 128., 128., 128., 256., 256., 256.]);
    assert!(scaled.read().bits() == unscaled.read().bits(), "a power of two changes no bit");
}

fn gradient_words(run: &Run<'_>) -> Vec<Vec<f32>> {
    let mut encoder = run.gpu.encoder();
    let grads: Vec<_> =
        run.tensors.iter().map(|id| run.params.download_grad(&mut encoder, *id).unwrap()).collect();
    run.gpu.submit(encoder);
    resolve(run.gpu, grads)
}

/// Gradients are zeroed by steps taken and skipped, and nothing beside them is.
fn zeroed(gpu: &Gpu, home: Home) {
    let config = AnyRule::named("adamw").unwrap();
    let zeroing = Wrappers { zero_grad: true, ..skipping() };
    let (mut kept, mut zeroed) =
        (start(gpu, &config, home, &around(skipping())), start(gpu, &config, home, &around(zeroing)));
    for (step, g) in [gradients(2, 0, &LENS), bad(1, 2, f32::NAN)].iter().enumerate() {
        kept.step(g);
        zeroed.step(g);
        assert!(kept.read().bits() == zeroed.read().bits(), "step {step}");
        let bits = |g: &[Vec<f32>]| g.iter().flatten().map(|g| g.to_bits()).collect::<Vec<_>>();
        assert!(bits(&gradient_words(&kept)) == bits(g), "step {step}: gradients are kept");
        assert!(bits(&gradient_words(&zeroed)).iter().all(|bits| *bits == 0), "step {step}: and zeroed");
    }
    if let Some(([params, grads], _)) = &zeroed.own {
        let words = read_words(gpu, grads);
        let guards = words.iter().filter(|word| **word == GUARD).count();
        let held = LENS.iter().sum::<usize>() * if params == grads { 2 } else { 1 };
        assert_eq!(guards, words.len() - held, "gaps are not touched");
    }
}

/// The sum of k micro-batches with `accumulate` k is their average.
fn averaged(gpu: &Gpu) {
    let config = AnyRule::named("sgd").unwrap();
    let average =
        Wrappers { grad_accumulation_steps: Some(4), max_grad_norm: Some(50.0), ..Wrappers::default() };
    let clip = Wrappers { grad_accumulation_steps: None, ..average };
    let (mut sum, mut mean) =
        (start(gpu, &config, BINDABLE, &around(average)), start(gpu, &config, BINDABLE, &around(clip)));
    for step in 0..3 {
        let g = gradients(2, step, &LENS);
        let four: Vec<Vec<f32>> = g.iter().map(|g| g.iter().map(|g| 4.0 * g).collect()).collect();
        sum.step(&four);
        mean.step(&g);
    }
    assert!(sum.read().bits() == mean.read().bits(), "a power of two changes no bit");
}

/// Only tensors whose norm is above the limit change, by their own norm.
fn clipped_tensor_by_tensor(gpu: &Gpu) {
    let sgd = AnyRule::from_json(r#"{"optimizer": "sgd", "lr": 1.0}"#).unwrap();
    let limit = Wrappers { max_tensor_norm: Some(1.0), ..Wrappers::default() };
    let g = [vec![0.5], vec![0.01; 1500], vec![2.0; 7], vec![1.0; 4099]];
    let mut run = start(gpu, &sgd, BINDABLE, &around(limit));
    run.write_theta(&LENS.map(|len| vec![0.0; len]));
    run.step(&g);
    let Words { theta, .. } = run.read();
    for (theta, g) in theta.iter().zip(&g) {
        let norm = f64::from(g[0]) * (g.len() as f64).sqrt();
        let want = -f64::from(g[0]) / norm.max(1.0);
        for theta in theta {
            assert!((f64::from(*theta) - want).abs() <= 2e-6 * want.abs(), "got {theta}, want {want}");
        }
    }
    assert_eq!(run.optimizer.dispatches_per_step(), 3);
}

pub fn main() {
    gpu_main("skipping", |adapter| {
        let everything = around(Wrappers {
            lookahead: Some(Lookahead { k: 2, alpha: 0.5 }),
            ema: Some(0.9),
            max_grad_norm: Some(30.0),
            cautious: true,
            ..skipping()
        });
        let mut trials = vec![
            trial(adapter, "the reference skips too", reference_skips),
            trial(adapter, "many skipped steps", many_skipped_steps),
            trial(adapter, "accumulated gradients are averaged", averaged),
            trial(adapter, "clipped tensor by tensor", clipped_tensor_by_tensor),
        ];
        for home in [BINDABLE, Home::Own { gap: 64 }, Home::Own { gap: 3 }, TOGETHER] {
            let name = format!("gradients are zeroed, {home:?}");
            trials.push(trial(adapter, name, move |gpu| zeroed(gpu, home)));
        }
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                // Everything around it once: what differs between variants is the rule.
                let around = [("alone", around(skipping())), ("with everything", everything.clone())];
                for (what, options) in around.into_iter().take(if i == 0 { 2 } else { 1 }) {
                    let name = format!("{} variant {i}: a skipped step is no step, {what}", entry.name);
                    let config = config.clone();
                    trials.push(trial(adapter, name, move |gpu| {
                        skipped_step_is_no_step(gpu, &config, &options);
                    }));
                }
            }
            let config = (entry.default)();
            let name = format!("{}: loss scale", entry.name);
            trials.push(trial(adapter, name, move |gpu| loss_scale(gpu, &config)));
        }
        trials
    });
}
