//! Claims about tensors that count their own steps: one that is left out of a step does not change and counts for nothing,
//! and goes on as if it had been alone; one that starts anew is as a new one. For every rule that can.

mod common;

use common::run::{BINDABLE, Home, Run, TOGETHER, Words, Worst, gradients, parameters, with_slower};
use common::{Gpu, gpu_main, is_tried, trial};
use wgpu_optim::program::Program;
use wgpu_optim::reference::Reference;
use wgpu_optim::rule::{Config, Scope};
use wgpu_optim::rules::{REGISTRY, ScheduleFreeAdamW};
use wgpu_optim::wgpu::Device;
use wgpu_optim::{AnyRule, Error, Lookahead, NonFinite, Optimizer, Options, Packing, ParamSet, Wrappers};

const LENS: [usize; 5] = [1, 1500, 12, 4099, 0];
const TENSORS: [(usize, usize); 5] = [(1, 0), (1500, 1), (12, 1), (4099, 0), (0, 1)];
const STEPS: u64 = 12;

fn around(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    (options.wrappers, options.own_steps) = (wrappers, true);
    options
}

fn plain() -> Options {
    around(Wrappers::default())
}

/// What looks at one tensor alone.
fn of_each_tensor() -> Wrappers {
    Wrappers {
        lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
        ema: Some(0.9),
        max_tensor_norm: Some(50.0),
        max_grad_value: Some(1.0),
        ..Wrappers::default()
    }
}

/// What looks at all tensors too.
fn everything() -> Options {
    around(Wrappers {
        max_grad_norm: Some(100.0),
        zero_grad: true,
        non_finite: NonFinite::Skip,
        ..of_each_tensor()
    })
}

fn cautious() -> Options {
    around(Wrappers { cautious: true, grad_accumulation_steps: Some(3), ..Wrappers::default() })
}

/// Whether a tensor acts in a step: one always does, one seldom, one begins late.
fn acts(tensor: usize, step: u64) -> bool {
    match tensor {
        0 => true,
        1 => !step.is_multiple_of(3),
        2 => step.is_multiple_of(4),
        _ => step > 2 && step != 6,
    }
}

fn all_acts(step: u64) -> Vec<bool> {
    (0..LENS.len()).map(|tensor| acts(tensor, step)).collect()
}

fn start<'a>(gpu: &'a Gpu, config: &AnyRule, home: Home, options: &Options) -> Run<'a> {
    altered(gpu, config, home, options, |_| {})
}

/// The configuration of the second group.
fn second(config: &AnyRule) -> AnyRule {
    let [_, mut config] = with_slower(config);
    if let Some(beta2) = config.get("beta2") {
        config.set("beta2", 0.5 + 0.5 * beta2).unwrap();
    }
    config
}

/// With a program that `alter` changed.
fn altered<'a>(
    gpu: &'a Gpu,
    config: &AnyRule,
    home: Home,
    options: &Options,
    alter: impl FnOnce(&mut Program),
) -> Run<'a> {
    let run = Run::altered(gpu, &[config.clone(), second(config)], &TENSORS, home, options, alter);
    run.write_theta(&parameters(1, &LENS));
    run
}

/// The gradients of a step; nobody may look at those of tensors that it leaves out.
fn given(step: u64) -> Vec<Vec<f32>> {
    let mut given = gradients(2, step, &LENS);
    for (tensor, g) in given.iter_mut().enumerate().filter(|(tensor, _)| !acts(*tensor, step)) {
        g.fill([f32::NAN, f32::INFINITY][tensor % 2]);
    }
    given
}

/// A step that leaves out whom [`acts`] says.
fn step(run: &mut Run<'_>, number: u64) {
    leave_out(run, number);
    run.step(&given(number));
}

fn leave_out(run: &mut Run<'_>, number: u64) {
    for tensor in (0..LENS.len()).filter(|tensor| !acts(*tensor, number)) {
        run.optimizer.skip(run.tensors[tensor]).unwrap();
    }
}

fn worst(run: &mut Run<'_>) -> Worst {
    let mut words = run.read();
    let mut worst = Worst::default();
    for number in 0..STEPS {
        let (after, error) = run.checked_step_of(&words, &given(number), &all_acts(number));
        worst.merge(error);
        words = after;
    }
    worst
}

fn within_intervals(gpu: &Gpu, config: &AnyRule, home: Home, options: &Options) {
    let worst = worst(&mut start(gpu, config, home, options));
    assert!(worst.units <= 1.0, "{:.3} of the interval at {}", worst.units, worst.place);
    assert!(worst.units > 0.0, "no difference from the truth anywhere");
}

/// Wrong lines about what is left out are noticed.
fn finds_wrong_lines(gpu: &Gpu) {
    for (find, replace) in [
        ("if (tile.count == 0u || tile.rests) {", "if (tile.count == 0u) {"),
        ("if (tile.count > 0u && !tile.rests) {", "if (tile.count > 0u) {"),
        ("tile.rests = rests_in(tile.row);", ""),
        ("of_group.rests,", "false,"),
        ("counted.y + group * counted.x, counted.z", "counted.y, counted.z"),
        ("fn rests_in(row: u32) -> bool {", "fn rests_in(ignored: u32) -> bool {\n let row = 3u + now.rows;"),
    ] {
        let config = AnyRule::named("adamw").unwrap();
        let alter = |program: &mut Program| {
            let with = program.modules.iter_mut().filter(|module| module.wgsl.contains(find));
            let changed = with.map(|module| module.wgsl = module.wgsl.replacen(find, replace, 1)).count();
            assert!(changed > 0, "no module has '{find}'");
        };
        let worst = worst(&mut altered(gpu, &config, BINDABLE, &everything(), alter));
        assert!(
            worst.units > 1.0 || worst.units.is_nan(),
            "'{replace}' in the place of '{find}' was not noticed"
        );
    }
}

/// The bits of one tensor.
fn of_tensor(words: &Words, tensor: usize) -> Vec<u32> {
    let slots = words.slots[tensor].iter().flatten();
    words.theta[tensor].iter().chain(slots).map(|x| x.to_bits()).collect()
}

/// A run of one tensor that takes only its own steps, without the option.
fn alone(gpu: &Gpu, config: &AnyRule, tensor: usize, wrappers: Wrappers, steps: &[u64]) -> Vec<u32> {
    let config = if TENSORS[tensor].1 == 1 { second(config) } else { config.clone() };
    let mut options = Options::default();
    options.wrappers = wrappers;
    let mut run = Run::new(gpu, &[config], &[(LENS[tensor], 0)], BINDABLE, &options);
    run.write_theta(&[parameters(1, &LENS)[tensor].clone()]);
    for number in steps {
        run.step(&[gradients(2, *number, &LENS)[tensor].clone()]);
    }
    of_tensor(&run.read(), 0)
}

fn as_if_alone(gpu: &Gpu, config: &AnyRule, home: Home, wrappers: Wrappers, steps: u64) {
    let mut run = start(gpu, config, home, &around(wrappers));
    (0..steps).for_each(|number| step(&mut run, number));
    let words = run.read();
    for tensor in 0..4 {
        let own: Vec<u64> = (0..steps).filter(|number| acts(tensor, *number)).collect();
        let want = alone(gpu, config, tensor, wrappers, &own);
        assert!(of_tensor(&words, tensor) == want, "tensor {tensor} took other steps than alone");
    }
}

/// The option changes nothing where nobody is left out.
fn changes_nothing(gpu: &Gpu, config: &AnyRule) {
    let mut without = everything();
    without.own_steps = false;
    let [mut with, mut without] =
        [everything(), without].map(|options| start(gpu, config, BINDABLE, &options));
    for number in 0..5 {
        for run in [&mut with, &mut without] {
            run.step(&gradients(2, number, &LENS));
        }
    }
    assert!(with.read().bits() == without.read().bits());
}

/// A tensor rests for longer than there are rows for counts (in pages these are too many steps), while steps are skipped on the device and encoders dropped.
#[cfg(not(target_arch = "wasm32"))]
fn long_rest(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    let options = around(Wrappers { non_finite: NonFinite::Skip, ..Wrappers::default() });
    let mut run = start(gpu, &config, BINDABLE, &options);
    let taken = |number: u64| number % 7 != 3;
    let steps = 3 * u64::from(run.optimizer.program().rows.counted.places);
    assert!(steps > 700, "{steps}");
    let sleeps = |tensor: usize, number: u64| tensor == 1 && (5..steps - 5).contains(&number);
    for number in 0..steps {
        let mut g = gradients(2, number % 20, &LENS);
        if !taken(number) {
            g[3][5] = f32::NAN;
        }
        if number % 5 == 1 {
            // Recorded and dropped.
            run.optimizer.skip(run.tensors[2]).unwrap();
            run.optimizer.step(&mut gpu.encoder()).unwrap();
        }
        if sleeps(1, number) {
            run.optimizer.skip(run.tensors[1]).unwrap();
        }
        run.step(&g);
        if number % 16 == 0 {
            gpu.device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
        }
    }
    let words = run.read();
    for tensor in 0..4 {
        let own = (0..steps).filter(|number| taken(*number) && !sleeps(tensor, *number));
        let own: Vec<u64> = own.map(|number| number % 20).collect();
        let want = alone(gpu, &config, tensor, options.wrappers, &own);
        assert!(of_tensor(&words, tensor) == want, "tensor {tensor} took other steps than alone");
    }
}

/// Tensors that start anew, one of them in the middle of its rest; the others go on.
fn starts_anew(gpu: &Gpu, config: &AnyRule) {
    let options = around(of_each_tensor());
    let mut run = start(gpu, config, BINDABLE, &options);
    let mut kept = start(gpu, config, BINDABLE, &options);
    for run in [&mut run, &mut kept] {
        (0..9).for_each(|number| step(run, number));
    }
    let anew = [1, 2];
    run.write_theta(&parameters(1, &LENS));
    kept.write_theta(&parameters(1, &LENS));
    run.optimizer.reset_tensors(&anew.map(|tensor| run.tensors[tensor])).unwrap();
    for run in [&mut run, &mut kept] {
        (9..20).for_each(|number| step(run, number));
    }
    let (words, kept) = (run.read(), kept.read());
    for tensor in 0..4 {
        let own: Vec<u64> = (9..20).filter(|number| acts(tensor, *number)).collect();
        let same = of_tensor(&words, tensor) == alone(gpu, config, tensor, options.wrappers, &own);
        assert_eq!(same, anew.contains(&tensor), "tensor {tensor} starts anew");
        let goes_on = of_tensor(&words, tensor) == of_tensor(&kept, tensor);
        assert!(goes_on || anew.contains(&tensor), "tensor {tensor} goes on");
    }
    // A group is its tensors.
    let group = run.params.group_of(run.tensors[3]).unwrap();
    run.optimizer.reset_group(group).unwrap();
    run.write_theta(&parameters(1, &LENS));
    (9..20).for_each(|number| step(&mut run, number));
    let own: Vec<u64> = (9..20).filter(|number| acts(3, *number)).collect();
    assert!(of_tensor(&run.read(), 3) == alone(gpu, config, 3, options.wrappers, &own));
}

/// Saved in the middle, and put into another optimizer.
#[cfg(not(target_arch = "wasm32"))]
fn resumes(gpu: &Gpu, config: &AnyRule) {
    let options = everything();
    let mut run = start(gpu, config, BINDABLE, &options);
    (0..7).for_each(|number| step(&mut run, number));
    run.optimizer.step(&mut gpu.encoder()).unwrap();
    let state = run.optimizer.read_checkpoint_blocking(&run.params).unwrap();
    // Into the same program, and into one whose tensors lie elsewhere.
    let mut resumed = [BINDABLE, Home::Own { gap: 64 }].map(|home| start(gpu, config, home, &options));
    for resumed in &mut resumed {
        (0..3).for_each(|number| step(resumed, number));
        resumed.params.load_params(&gpu.queue, &state).unwrap();
        resumed.optimizer.load_state(&state).unwrap();
    }
    (7..15).for_each(|number| step(&mut run, number));
    for mut resumed in resumed {
        (7..15).for_each(|number| step(&mut resumed, number));
        assert!(resumed.read().bits() == run.read().bits(), "the run went on with other bits");
    }
    let mut other = options;
    other.own_steps = false;
    let mut other = start(gpu, config, BINDABLE, &other);
    let before = other.read().bits();
    let refused = other.optimizer.load_state(&state).unwrap_err();
    assert!(refused.to_string().contains("count their own steps"), "{refused}");
    assert!(other.optimizer.load_what_fits(&state).is_err() && other.read().bits() == before);
}

/// Weights for evaluation are those of all tensors; a tensor that was to be left out is, once steps train again.
fn evaluates(gpu: &Gpu) {
    let rule = |evaluate| AnyRule::new(ScheduleFreeAdamW { evaluate, ..ScheduleFreeAdamW::default() });
    let config = rule(false);
    let switch = |run: &mut Run<'_>, on: bool| {
        for tensor in [0, 1] {
            let group = run.params.group_of(run.tensors[tensor]).unwrap();
            *run.optimizer.group_mut(group).unwrap() = if tensor == 1 { second(&rule(on)) } else { rule(on) };
        }
    };
    let mut run = start(gpu, &config, BINDABLE, &plain());
    let mut never = start(gpu, &config, BINDABLE, &plain());
    for run in [&mut run, &mut never] {
        (0..5).for_each(|number| step(run, number));
    }
    let trained = run.read();
    switch(&mut run, true);
    run.optimizer.skip(run.tensors[1]).unwrap();
    run.step(&gradients(2, 5, &LENS));
    let shown = run.read();
    assert!(shown.theta[1] != trained.theta[1], "weights are converted");
    assert!(shown.slots == trained.slots);
    switch(&mut run, false);
    run.step(&gradients(2, 5, &LENS));
    // Rounding of there and back: the weights go on from those of the run that never converted.
    let back = run.read();
    run.write_theta(&trained.theta);
    assert!(back.slots == trained.slots);
    never.optimizer.skip(never.tensors[1]).unwrap();
    for run in [&mut run, &mut never] {
        run.step(&gradients(2, 5, &LENS));
    }
    assert!(run.read().bits() == never.read().bits(), "the tensor was left out of the step that trained");
}

fn follows_the_reference(gpu: &Gpu) {
    let config = AnyRule::named("radam").unwrap();
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let tensors = TENSORS.iter().zip(parameters(1, &LENS)).map(|((_, group), theta)| (*group, wide(&theta)));
    let mut run = start(gpu, &config, BINDABLE, &plain());
    let groups = [run.tensors[0], run.tensors[1]].map(|id| run.params.group_of(id).unwrap());
    let configs = groups.map(|group| run.optimizer.group(group).unwrap().clone());
    let mut reference = Reference::new(configs, tensors).unwrap().with_own_steps();
    for number in 0..STEPS {
        step(&mut run, number);
        let given = given(number);
        let some = given.iter().enumerate().map(|(tensor, g)| acts(tensor, number).then(|| wide(g)));
        reference.step_some(&some.collect::<Vec<_>>()).unwrap();
    }
    assert_eq!(reference.steps(), STEPS);
    for (got, want) in run.read().theta.iter().zip(reference.tensors()) {
        for (got, want) in got.iter().zip(&want.theta) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "got {got}, reference {want}");
        }
    }
}

fn refuses(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    let mut run = start(gpu, &config, BINDABLE, &Options::default());
    let own_steps =
        |result: Result<(), Error>| matches!(result, Err(Error::WithoutOption { option: "own_steps", .. }));
    let before = run.read().bits();
    assert!(own_steps(run.optimizer.skip(run.tensors[0])));
    assert!(own_steps(run.optimizer.reset_tensors(&[run.tensors[0]])));
    let other = start(gpu, &config, BINDABLE, &plain());
    let unknown = |result: Result<(), Error>| matches!(result, Err(Error::UnknownHandle { .. }));
    assert!(unknown(run.optimizer.skip(other.tensors[0])));
    let mut own = start(gpu, &config, BINDABLE, &plain());
    assert!(unknown(own.optimizer.reset_tensors(&[own.tensors[0], other.tensors[0]])));
    assert!(run.read().bits() == before);
    let refused = |rule: AnyRule, device: &Device| {
        let mut builder = ParamSet::builder();
        let group = builder.group("all");
        builder.tensor("w", [8, 8], group);
        let params = builder.build(device).unwrap();
        Optimizer::with_options(device, &gpu.queue, &params, [rule], &plain()).unwrap_err().to_string()
    };
    for rule in ["adafactor", "prodigy"] {
        let message = refused(AnyRule::named(rule).unwrap(), &gpu.device);
        assert!(message.contains("own_steps"), "{message}");
    }
    let mut reference = Reference::new([config], [(0, vec![1.0])]).unwrap();
    assert!(own_steps(reference.step_some(&[None])));
}

/// Whether a rule may have steps of each tensor.
fn can(config: &AnyRule) -> bool {
    let spec = config.rule().spec();
    !spec.is_factored() && spec.device_scalars().next().is_none()
}

/// Whether it looks at one tensor alone.
fn of_each(config: &AnyRule) -> bool {
    config.rule().spec().scope != Scope::All || !config.rule().reduces()
}

pub fn main() {
    gpu_main("resting", |adapter| {
        let mut trials = vec![];
        let mut add =
            |name: String, test: Box<dyn FnOnce(&Gpu) + Send>| trials.push(trial(adapter, name, test));
        for entry in REGISTRY.iter().filter(|entry| is_tried(entry.name)) {
            for (i, config) in (entry.variants)().into_iter().filter(can).enumerate() {
                let name = |what: &str| format!("{} variant {i}, {what}", entry.name);
                for (what, home, options) in [
                    ("some left out", BINDABLE, plain()),
                    ("some left out, everything around it", Home::Own { gap: 3 }, everything()),
                    ("some left out, cautious", Home::Arena(Packing::Tight), cautious()),
                ] {
                    let config = config.clone();
                    add(name(what), Box::new(move |gpu| within_intervals(gpu, &config, home, &options)));
                }
                for (what, home, wrappers) in [
                    ("as if alone", BINDABLE, Wrappers::default()),
                    ("as if alone, wrapped", TOGETHER, of_each_tensor()),
                ] {
                    let config = config.clone();
                    if of_each(&config) {
                        add(name(what), Box::new(move |gpu| as_if_alone(gpu, &config, home, wrappers, 30)));
                    }
                }
                if i > 0 {
                    continue;
                }
                let own = config.clone();
                add(name("nobody left out"), Box::new(move |gpu| changes_nothing(gpu, &own)));
                if of_each(&config) {
                    let own = config.clone();
                    add(name("starts anew"), Box::new(move |gpu| starts_anew(gpu, &own)));
                }
                #[cfg(not(target_arch = "wasm32"))]
                add(name("resumes"), Box::new(move |gpu| resumes(gpu, &config)));
            }
        }
        add("wrong lines".into(), Box::new(finds_wrong_lines));
        #[cfg(not(target_arch = "wasm32"))]
        add("a long rest".into(), Box::new(long_rest));
        add("weights for evaluation".into(), Box::new(evaluates));
        add("the reference".into(), Box::new(follows_the_reference));
        add("what cannot be".into(), Box::new(refuses));
        trials
    });
}
