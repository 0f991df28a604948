//! Claim: what a step does follows from the steps that really ran on the device, from how many of them were taken,
//! and from the settings that it was recorded with, whatever the host recorded besides: encoders that are dropped or
//! submitted in another order, any number of skipped steps, numbers changed in between. For every rule.

mod common;

use common::run::{BINDABLE, Run, gradients, parameters};
use common::{Gpu, gpu_main, trial, turns};
use wgpu_optim::reference::Reference;
use wgpu_optim::rule::{Config, FieldKind, HostState};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, GroupId, Lookahead, LossScale, NonFinite, Options, Wrappers};

const LENS: [usize; 3] = [1, 1500, 70];
const TENSORS: [(usize, usize); 3] = [(1, 0), (1500, 1), (70, 0)];

fn around(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.wrappers = wrappers;
    options
}

fn skipping() -> Wrappers {
    Wrappers { non_finite: NonFinite::Skip, ..Wrappers::default() }
}

fn start<'a>(gpu: &'a Gpu, config: &AnyRule, options: &Options) -> Run<'a> {
    let run = Run::new(gpu, &[config.clone(), config.clone()], &TENSORS, BINDABLE, options);
    run.write_theta(&parameters(1, &LENS));
    run
}

/// One parameter, 1 unless said otherwise, in `groups` groups of which only the first has a tensor.
fn single<'a>(gpu: &'a Gpu, json: &str, wrappers: Wrappers, groups: usize) -> Run<'a> {
    let config = AnyRule::from_json(json).unwrap();
    let run = Run::new(gpu, &vec![config; groups], &[(1, 0)], BINDABLE, &around(wrappers));
    run.write_theta(&[vec![1.0]]);
    run
}

fn drop_a_step(run: &mut Run<'_>) {
    run.optimizer.step(&mut run.gpu.encoder()).unwrap();
}

fn group(run: &Run<'_>) -> GroupId {
    run.params.group_of(run.tensors[0]).unwrap()
}

fn theta(run: &Run<'_>) -> f64 {
    f64::from(run.read().theta[0][0])
}

#[track_caller]
fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "got {got}, want {want}");
}

const ADAM: &str = r#"{"optimizer": "adam", "lr": 0.1}"#;
const SGD: &str = r#"{"optimizer": "sgd", "lr": 0.1}"#;

/// For every rule with everything that counts around it: dropped encoders leave no trace.
fn dropped_encoders(gpu: &Gpu, config: &AnyRule, options: &Options) {
    let (mut with, mut without) = (start(gpu, config, options), start(gpu, config, options));
    for step in 0..6 {
        (0..[2, 0, 1, 0, 3, 0][step as usize]).for_each(|_| drop_a_step(&mut with));
        let g = gradients(2, step, &LENS);
        with.step(&g);
        without.step(&g);
        assert!(with.read().bits() == without.read().bits(), "step {step}: a dropped encoder left a trace");
    }
    assert_eq!((with.optimizer.steps(), without.optimizer.steps()), (12, 6));
}

/// Two steps in two encoders, submitted in either order, with the same settings and gradients: the same bits.
fn swapped_encoders(gpu: &Gpu, config: &AnyRule) {
    let run = |swap: bool| {
        let mut run = start(gpu, config, &around(skipping()));
        let mut bad = gradients(2, 90, &LENS);
        bad[1][700] = f32::NAN;
        run.step(&bad);
        run.step(&gradients(2, 0, &LENS));
        let mut encoders = [gpu.encoder(), gpu.encoder()];
        encoders.iter_mut().for_each(|encoder| run.optimizer.step(encoder).unwrap());
        if swap {
            encoders.reverse();
        }
        encoders.into_iter().for_each(|encoder| gpu.submit(encoder));
        run.read()
    };
    let swapped = run(true);
    assert!(swapped.bits() == run(false).bits());
    assert!(swapped.theta.iter().flatten().all(|theta| theta.is_finite()));
}

/// Steps that two encoders swap use the settings that they were recorded with.
fn swapped_rates(gpu: &Gpu) {
    let mut run = single(
        gpu,
        r#"{"optimizer": "sgd", "lr": 0.5, "weight_decay": 1, "weight_decay_mode": "decoupled"}"#,
        skipping(),
        1,
    );
    run.write_gradients(&[vec![0.0]]);
    let group = group(&run);
    let encoders = [0.5, 0.25].map(|lr| {
        run.optimizer.group_mut(group).unwrap().set("lr", lr).unwrap();
        let mut encoder = gpu.encoder();
        run.optimizer.step(&mut encoder).unwrap();
        encoder
    });
    let [first, second] = encoders;
    gpu.submit(second);
    assert_eq!(theta(&run), 0.75);
    gpu.submit(first);
    assert_eq!(theta(&run), 0.375);
}

/// A skipped step, a dropped encoder, then the first step that is taken: with the bias correction of the first.
fn first_step_after_others(gpu: &Gpu) {
    let mut run = single(gpu, ADAM, skipping(), 1);
    run.step(&[vec![f32::NAN]]);
    drop_a_step(&mut run);
    run.step(&[vec![1.0]]);
    close(theta(&run), 0.9);
}

/// What starts in the first step starts in the first that runs.
fn slots_that_start_with_the_parameters(gpu: &Gpu) {
    let lookahead = Some(Lookahead { k: 2, alpha: 0.5 });
    let mut run = single(gpu, SGD, Wrappers { lookahead, ..Wrappers::default() }, 1);
    drop_a_step(&mut run);
    (0..2).for_each(|_| run.step(&[vec![1.0]]));
    close(theta(&run), 0.9);
    let mut run = single(gpu, SGD, Wrappers { ema: Some(0.9), ..Wrappers::default() }, 1);
    drop_a_step(&mut run);
    run.step(&[vec![1.0]]);
    let ema = run.read().slots[0].pop().unwrap();
    close(f64::from(ema[0]), 0.99);
    let json = r#"{"optimizer": "schedule_free_adamw", "lr": 0.1, "weight_decay": 0}"#;
    let mut run = single(gpu, json, Wrappers::default(), 1);
    drop_a_step(&mut run);
    run.step(&[vec![1.0]]);
    close(theta(&run), 0.9);
}

/// Today's rate holds at once, however many steps were skipped under another one.
fn rates_are_of_now(gpu: &Gpu) {
    let mut run = single(gpu, SGD, skipping(), 1);
    run.write_theta(&[vec![0.0]]);
    (0..20).for_each(|_| run.step(&[vec![f32::NAN]]));
    let group = group(&run);
    run.optimizer.group_mut(group).unwrap().set("lr", 0.0).unwrap();
    (0..25).for_each(|_| run.step(&[vec![1.0]]));
    assert_eq!(theta(&run), 0.0);
}

/// As many steps in one encoder as were asked for, each with a rate of its own. `json` is a rule whose steps with a gradient
/// of 1 are as long as its rate.
fn rates_of_one_encoder(gpu: &Gpu, json: &str, wrappers: Wrappers) {
    const STEPS: u32 = 100;
    let config = AnyRule::from_json(json).unwrap();
    let mut options = around(wrappers);
    let run = |options: &Options| {
        let run = Run::new(gpu, &vec![config.clone(); 465], &[(1, 0)], BINDABLE, options);
        run.write_theta(&[vec![0.0]]);
        run.write_gradients(&[vec![1.0]]);
        run
    };
    assert!(run(&options).optimizer.steps_ahead() < STEPS as usize);
    options.steps_ahead = Some(STEPS);
    let mut run = run(&options);
    assert!(run.optimizer.steps_ahead() >= STEPS as usize);
    let group = group(&run);
    let mut encoder = gpu.encoder();
    for step in 1..=STEPS {
        run.optimizer.group_mut(group).unwrap().set("lr", f64::from(step)).unwrap();
        run.optimizer.step(&mut encoder).unwrap();
    }
    gpu.submit(encoder);
    close(theta(&run) / f64::from(STEPS * (STEPS + 1) / 2), -1.0);
}

/// Bias corrections are those of the steps taken, however many were skipped: far more than rows are kept for.
fn skips_without_end(gpu: &Gpu, groups: usize, skipped: usize) {
    let mut run = single(gpu, ADAM, skipping(), groups);
    run.write_gradients(&[vec![f32::NAN]]);
    for _ in 0..skipped {
        let mut encoder = gpu.encoder();
        // As hosts do now and then; without it the answer comes with a later submit.
        gpu.device.poll(wgpu_optim::wgpu::PollType::Poll).unwrap();
        while let Err(error) = run.optimizer.step(&mut encoder) {
            assert!(matches!(error, Error::StepsAhead { .. }), "{error}");
            turns(100);
        }
        gpu.submit(encoder);
    }
    run.step(&[vec![1.0]]);
    close(theta(&run), 0.9);
}

/// As many as are skipped in one encoder, so that nothing is known of them before they ran.
fn skips_in_one_encoder(gpu: &Gpu) {
    let mut run = single(gpu, ADAM, skipping(), 465);
    run.write_gradients(&[vec![f32::NAN]]);
    let mut encoder = gpu.encoder();
    (0..131).for_each(|_| run.optimizer.step(&mut encoder).unwrap());
    gpu.submit(encoder);
    run.step(&[vec![1.0]]);
    close(theta(&run), 0.9);
}

/// More steps than there is room for, none of them submitted, are an error before anything is overwritten; once they are
/// submitted and their count is known, the run goes on.
fn too_many_before_a_submit(gpu: &Gpu) {
    let mut run = single(gpu, ADAM, skipping(), 465);
    run.write_gradients(&[vec![f32::NAN]]);
    let mut encoder = gpu.encoder();
    let refused = (0..1000).find_map(|_| run.optimizer.step(&mut encoder).err()).unwrap();
    let Error::StepsAhead { recorded, limit } = refused else { panic!("{refused}") };
    assert!(recorded == run.optimizer.steps() && recorded <= limit && limit < 1000, "{refused}");
    gpu.submit(encoder);
    gpu.device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
    run.write_gradients(&[vec![1.0]]);
    let mut encoder = gpu.encoder();
    while run.optimizer.step(&mut encoder).is_err() {
        turns(100);
    }
    gpu.submit(encoder);
    close(theta(&run), 0.9);
}

/// Steps that skip at random follow the reference, which counts what it takes, with a schedule and a warm-up.
fn any_pattern_of_skips(gpu: &Gpu, config: &AnyRule) {
    let mut run = single(gpu, r#"{"optimizer": "sgd"}"#, Wrappers::default(), 1);
    let options =
        around(Wrappers { ema: Some(0.9), lookahead: Some(Lookahead { k: 3, alpha: 0.5 }), ..skipping() });
    run = Run::new(run.gpu, std::slice::from_ref(config), &[(3, 0)], BINDABLE, &options);
    let start = [0.5f32, -1.0, 0.25];
    run.write_theta(&[start.to_vec()]);
    let truth = start.iter().map(|theta| f64::from(*theta)).collect();
    let mut reference =
        Reference::new([config.clone()], [(0, truth)]).unwrap().wrapped(options.wrappers).unwrap();
    for step in 0..40u64 {
        let mut g = gradients(5, step, &[3]);
        if (step * step + step / 3) % 5 < 2 {
            g[0][(step % 3) as usize] = f32::INFINITY;
        }
        run.step(&g);
        reference.step(&[g[0].iter().map(|g| f64::from(*g)).collect()]).unwrap();
    }
    assert!(reference.steps() > 10 && reference.steps() < 30);
    let got = run.read();
    for (got, want) in got.theta[0].iter().zip(&reference.tensors()[0].theta) {
        assert!((f64::from(*got) - want).abs() < 2e-4 * want.abs().max(0.1), "got {got}, reference {want}");
    }
}

/// A conversion is one whatever was skipped before it, and looks at nothing: not at the gradient, no mask, no
/// synchronisation, no loss scale; it zeroes no gradient.
fn conversions(gpu: &Gpu) {
    let json = r#"{"optimizer": "schedule_free_adamw", "lr": 0.1, "weight_decay": 0}"#;
    let evaluate = |run: &mut Run<'_>, on: bool| {
        let json = json.replace('}', &format!(r#", "evaluate": {on}}}"#));
        let group = group(run);
        *run.optimizer.group_mut(group).unwrap() = AnyRule::from_json(&json).unwrap();
    };
    // Alone: x is the average of z after each step, y what is trained.
    let mut run = single(gpu, json, skipping(), 1);
    run.step(&[vec![f32::NAN]]);
    (0..3).for_each(|_| run.step(&[vec![1.0]]));
    let y = theta(&run);
    evaluate(&mut run, true);
    run.step(&[vec![f32::NAN]]);
    // z = .9, .8, .7 after the three steps.
    close(theta(&run), 0.8);
    evaluate(&mut run, false);
    run.step(&[vec![f32::NAN]]);
    close(theta(&run), y);

    let everything = Wrappers {
        cautious: true,
        lookahead: Some(Lookahead { k: 4, alpha: 0.5 }),
        zero_grad: true,
        loss_scale: Some(LossScale { initial: 1024.0, interval: 4, ..LossScale::default() }),
        ..Wrappers::default()
    };
    let mut run = single(gpu, json, everything, 1);
    let state = |run: &Run<'_>| {
        let mut encoder = gpu.encoder();
        let download = run.optimizer.download_skips(&mut encoder).unwrap();
        gpu.submit(encoder);
        common::run::resolve(gpu, vec![download]).concat()
    };
    (0..3).for_each(|_| run.step(&[vec![1024.0]]));
    let before = run.read();
    for on in [true, true, false] {
        evaluate(&mut run, on);
        run.step(&[vec![7.0]]);
        let mut encoder = gpu.encoder();
        let grad = run.params.download_grad(&mut encoder, run.tensors[0]).unwrap();
        gpu.submit(encoder);
        assert_eq!(common::run::resolve(gpu, vec![grad]), [[7.0]], "a conversion zeroes no gradient");
        assert_eq!(state(&run)[0], 1024.0, "nor does it count for the loss scale");
        assert_eq!(run.read().slots, before.slots);
    }
    close(theta(&run), f64::from(before.theta[0][0]));
    run.step(&[vec![1024.0]]);
    assert_eq!(state(&run)[0], 2048.0, "the fourth step that trains");
}

/// The divisor of micro-batches, and every other number around the rule, can change from step to step; what is on or
/// off can not.
fn numbers_around_the_rule(gpu: &Gpu) {
    let around =
        Wrappers { grad_accumulation_steps: Some(4), max_grad_norm: Some(8.0), ..Wrappers::default() };
    let mut run = single(gpu, SGD, around, 1);
    run.step(&[vec![4.0]]);
    close(theta(&run), 0.9);
    run.optimizer.wrappers_mut().grad_accumulation_steps = Some(2);
    run.step(&[vec![4.0]]);
    close(theta(&run), 0.7);
    run.optimizer.wrappers_mut().max_grad_norm = Some(1.0);
    run.step(&[vec![4.0]]);
    close(theta(&run), 0.6);
    for wrappers in [
        Wrappers { grad_accumulation_steps: None, ..around },
        Wrappers { cautious: true, ..around },
        Wrappers { grad_accumulation_steps: Some(0), ..around },
    ] {
        let before = run.optimizer.steps();
        *run.optimizer.wrappers_mut() = wrappers;
        let error = run.optimizer.step(&mut gpu.encoder()).unwrap_err().to_string();
        assert!(error.contains("every group") && error.contains("is refused"), "{error}");
        assert_eq!(run.optimizer.steps(), before);
    }
}

/// Host scalars are what their kinds say: what is set does not follow the count, and what follows the count is not
/// the rate's, except where a rule averages its rates.
fn kinds_of_host_scalars(config: &AnyRule) {
    let rule = config.rule();
    let row = |config: &AnyRule, t: u64| {
        let (mut row, mut memory) = (vec![0.0; rule.spec().fields.len()], HostState::default());
        for t in 1..=t {
            config.rule().host_scalars(t, &mut memory, &mut row);
        }
        (row, memory)
    };
    let (first, _) = row(config, 1);
    for t in [2, 3, 10, 500] {
        let (now, _) = row(config, t);
        for ((field, first), now) in rule.spec().fields.iter().zip(&first).zip(now) {
            if field.kind.is_of_now() {
                assert_eq!(*first, now, "{} follows the count, step {t}", field.name);
            }
            if field.kind == FieldKind::First {
                assert_eq!(now, 0.0);
            }
        }
    }
    let mut other = config.clone();
    if other.get("lr").is_some() {
        other.set("lr", 0.37).unwrap();
        let ((a, memory), (b, _)) = (row(config, 7), row(&other, 7));
        for ((field, a), b) in rule.spec().fields.iter().zip(a).zip(b) {
            let averages_rates = memory != HostState::default();
            assert!(
                !field.kind.is_counted() || averages_rates || a == b,
                "{} follows the rate and the count",
                field.name
            );
        }
    }
}

pub fn main() {
    gpu_main("counting", |adapter| {
        let everything = around(Wrappers {
            lookahead: Some(Lookahead { k: 2, alpha: 0.5 }),
            ema: Some(0.9),
            max_grad_norm: Some(30.0),
            cautious: true,
            ..skipping()
        });
        let mut trials = vec![
            trial(adapter, "steps swapped use their own settings", swapped_rates),
            trial(adapter, "the first step after skipped and dropped ones", first_step_after_others),
            trial(adapter, "slots that start with the parameters", slots_that_start_with_the_parameters),
            trial(adapter, "rates are of now", rates_are_of_now),
            trial(adapter, "rates of one encoder", |gpu| rates_of_one_encoder(gpu, SGD, Wrappers::default())),
            trial(adapter, "rates of one encoder, counted", |gpu| {
                rates_of_one_encoder(gpu, ADAM, Wrappers::default())
            }),
            trial(adapter, "rates of one encoder, skipping", |gpu| {
                rates_of_one_encoder(gpu, ADAM, skipping())
            }),
            trial(adapter, "131 skipped steps of 465 groups", |gpu| skips_without_end(gpu, 465, 131)),
            trial(adapter, "3000 skipped steps of 465 groups", |gpu| skips_without_end(gpu, 465, 3000)),
            trial(adapter, "131 skipped steps in one encoder", skips_in_one_encoder),
            trial(adapter, "too many steps before a submit", too_many_before_a_submit),
            trial(adapter, "conversions look at nothing", conversions),
            trial(adapter, "numbers around the rule change", numbers_around_the_rule),
        ];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let name = |claim: &str| format!("{} variant {i}: {claim}", entry.name);
                let rule = config.clone();
                trials.push(trial(adapter, name("kinds of host scalars"), move |_| {
                    kinds_of_host_scalars(&rule)
                }));
                let rule = config.clone();
                trials.push(trial(adapter, name("dropped encoders"), move |gpu| {
                    dropped_encoders(gpu, &rule, &Options::default())
                }));
                if i > 0 {
                    continue; // everything around it once: what differs between variants is the rule
                }
                let (rule, options) = (config.clone(), everything.clone());
                trials.push(trial(adapter, name("dropped encoders, with everything"), move |gpu| {
                    dropped_encoders(gpu, &rule, &options)
                }));
                let rule = config.clone();
                trials
                    .push(trial(adapter, name("swapped encoders"), move |gpu| swapped_encoders(gpu, &rule)));
                let rule = config.clone();
                trials.push(trial(adapter, name("any pattern of skips"), move |gpu| {
                    any_pattern_of_skips(gpu, &rule)
                }));
            }
        }
        trials
    });
}
