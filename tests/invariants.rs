//! Claims that hold for every rule, whatever its equation: about groups, splits, recording and zeros.
//! Where bits are promised, bits are compared.

mod common;

use common::run::{BINDABLE, Home, Run, TOGETHER, Words, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::rule::{Config, Scope};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Options, Packing};

const STEPS: u64 = 6;

/// A second configuration of the same rule that differs in every number that may differ.
fn other(config: &AnyRule) -> AnyRule {
    let mut other = config.clone();
    for (field, factor) in [("lr", 0.3), ("weight_decay", 3.0), ("beta1", 0.9), ("eps", 10.0)] {
        if let Some(value) = other.get(field) {
            other.set(field, factor * value).unwrap();
        }
    }
    other
}

fn options(tile: u32, state_buffers: Option<usize>) -> Options {
    let mut options = Options::default();
    options.tile = Some(tile);
    options.state_buffers = state_buffers;
    options
}

fn run_steps(run: &mut Run, theta: &[Vec<f32>], lens: &[usize], steps: u64) -> Words {
    run.write_theta(theta);
    for step in 0..steps {
        run.step(&gradients(7, step, lens));
    }
    run.read()
}

/// One optimizer over two groups gives the bits of two optimizers over one group each.
fn group_equals_separate_optimizer(gpu: &Gpu, config: &AnyRule) {
    if reduces(config) && config.rule().spec().scope == Scope::All {
        return; // its groups act on one another
    }
    let configs = [config.clone(), other(config)];
    let lens = [700, 1301, 5];
    let groups = [0, 1, 0];
    let theta = parameters(3, &lens);
    let tensors: Vec<_> = lens.into_iter().zip(groups).collect();
    let mut together = Run::new(gpu, &configs, &tensors, BINDABLE, &Options::default());
    let together = run_steps(&mut together, &theta, &lens, STEPS);

    for (group, config) in configs.iter().enumerate() {
        let members: Vec<usize> = (0..lens.len()).filter(|i| groups[*i] == group).collect();
        let tensors: Vec<_> = members.iter().map(|i| (lens[*i], 0)).collect();
        let mut alone = Run::new(gpu, std::slice::from_ref(config), &tensors, BINDABLE, &Options::default());
        alone.write_theta(&members.iter().map(|i| theta[*i].clone()).collect::<Vec<_>>());
        for step in 0..STEPS {
            let all = gradients(7, step, &lens);
            alone.step(&members.iter().map(|i| all[*i].clone()).collect::<Vec<_>>());
        }
        let alone = alone.read();
        let pick = Words {
            theta: members.iter().map(|i| together.theta[*i].clone()).collect(),
            slots: members.iter().map(|i| together.slots[*i].clone()).collect(),
            device: vec![],
        };
        // A slot that only the other group needs exists in the common optimizer too.
        assert_same_bits(&bits(&alone.theta), &bits(&pick.theta), &format!("group {group}"));
        for (alone, pick) in alone.slots.iter().flatten().zip(pick.slots.iter().flatten()) {
            assert!(
                alone.is_empty() || bits(std::slice::from_ref(alone)) == bits(std::slice::from_ref(pick)),
                "group {group}, slots"
            );
        }
    }
}

/// Compares bits without printing thousands of them.
fn assert_same_bits(got: &[Vec<u32>], expected: &[Vec<u32>], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "{what}: length of part {i}");
        let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
        assert_eq!(differs, None, "{what}: first difference in part {i}");
    }
}

/// Whether the rate follows from the number of steps alone, as it may for Adafactor.
fn has_its_own_rate(config: &AnyRule) -> bool {
    config.rule().to_json()["relative_step"] == true
}

/// Whether elements of a tensor, or of all, act on one another through a norm.
fn reduces(config: &AnyRule) -> bool {
    config.rule().reduces() && config.rule().spec().results().next().is_some()
}

fn bits(words: &[Vec<f32>]) -> Vec<Vec<u32>> {
    words.iter().map(|tensor| tensor.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The same elements in one tensor or many, small tiles or large, one state buffer or several, in an
/// arena or in the caller's buffers, aligned or not: the same bits.
fn any_split_gives_the_same_bits(gpu: &Gpu, config: &AnyRule) {
    let lens = [1, 255, 256, 257, 1024, 1, 2000, 206];
    let total: usize = lens.iter().sum();
    let theta = parameters(4, &[total]).concat();
    let flat = |words: &Words| {
        if config.rule().spec().is_factored() {
            return vec![words.bits()]; // only compared with the same tensors
        }
        let mut all: Vec<Vec<f32>> = vec![words.theta.concat()];
        for slot in 0..words.slots[0].len() {
            // A ring is read back tensor by tensor, so each of its places is put together for itself.
            for place in 0..words.slots[0][slot].len() / words.theta[0].len() {
                let one = |(theta, slots): (&Vec<f32>, &Vec<Vec<f32>>)| {
                    slots[slot][place * theta.len()..(place + 1) * theta.len()].to_vec()
                };
                all.push(words.theta.iter().zip(&words.slots).flat_map(one).collect());
            }
        }
        bits(&all)
    };
    let cut = |all: &[f32], lens: &[usize]| {
        let mut at = 0;
        lens.iter()
            .map(|len| {
                at += len;
                all[at - len..at].to_vec()
            })
            .collect::<Vec<_>>()
    };
    let split = |lens: &[usize], home: Home, options: &Options| {
        let tensors: Vec<_> = lens.iter().map(|len| (*len, 0)).collect();
        let mut run = Run::new(gpu, std::slice::from_ref(config), &tensors, home, options);
        run.write_theta(&cut(&theta, lens));
        for step in 0..STEPS {
            run.step(&cut(&gradients(8, step, &[total]).concat(), lens));
        }
        flat(&run.read())
    };
    if reduces(config) {
        // The tree of a sum follows tensors and tiles; where they lie does not matter.
        let tile = |state_buffers| options(256, state_buffers);
        let expected = split(&lens, BINDABLE, &tile(None));
        for (name, got) in [
            ("tight packing", split(&lens, Home::Arena(Packing::Tight), &tile(None))),
            ("one state buffer", split(&lens, BINDABLE, &tile(Some(1)))),
            ("own buffers", split(&lens, Home::Own { gap: 64 }, &tile(None))),
            ("unaligned own buffers", split(&lens, Home::Own { gap: 5 }, &tile(Some(1)))),
            ("one buffer", split(&lens, TOGETHER, &tile(None))),
        ] {
            assert_same_bits(&got, &expected, name);
        }
        return;
    }
    let whole = split(&[total], BINDABLE, &options(16384, None));
    for (name, got) in [
        ("many tensors", split(&lens, BINDABLE, &options(16384, None))),
        ("small tiles", split(&lens, BINDABLE, &options(256, None))),
        ("tight packing", split(&lens, Home::Arena(Packing::Tight), &options(256, None))),
        ("one state buffer", split(&lens, BINDABLE, &options(1024, Some(1)))),
        ("two state buffers", split(&lens, BINDABLE, &options(256, Some(2)))),
        ("own buffers", split(&lens, Home::Own { gap: 64 }, &options(256, None))),
        (
            "unaligned own buffers, one state buffer",
            split(&lens, Home::Own { gap: 5 }, &options(256, Some(1))),
        ),
        ("one buffer", split(&lens, TOGETHER, &options(256, None))),
    ] {
        assert_same_bits(&got, &whole, name);
    }
}

/// Two runs give the same bits; several steps recorded into one encoder, or into a pass that the
/// caller already has, give the bits of as many submits.
fn recording_does_not_matter(gpu: &Gpu, config: &AnyRule) {
    let configs = [config.clone(), other(config)];
    let lens = [900, 333];
    let tensors = [(900, 0), (333, 1)];
    let theta = parameters(5, &lens);
    let g = gradients(9, 0, &lens);
    let fresh = || {
        let run = Run::new(gpu, &configs, &tensors, BINDABLE, &Options::default());
        run.write_theta(&theta);
        run.write_gradients(&g);
        run
    };
    // A schedule, so that each step has host scalars of its own.
    let schedule = |run: &mut Run, step: u64| {
        for (group, config) in
            run.tensors.iter().map(|id| run.params.group_of(*id).unwrap()).zip(&configs).collect::<Vec<_>>()
        {
            if let Some(lr) = config.get("lr") {
                run.optimizer.group_mut(group).unwrap().set("lr", lr / (step + 1) as f64).unwrap();
            }
        }
    };
    let submits = || {
        let mut run = fresh();
        for step in 0..STEPS {
            schedule(&mut run, step);
            let mut encoder = gpu.encoder();
            run.optimizer.step(&mut encoder).unwrap();
            gpu.submit(encoder);
        }
        run.read().bits()
    };
    let expected = submits();
    assert_same_bits(&[submits()], std::slice::from_ref(&expected), "run to run");

    let mut one = fresh();
    let mut encoder = gpu.encoder();
    for step in 0..STEPS {
        schedule(&mut one, step);
        one.optimizer.step(&mut encoder).unwrap();
    }
    gpu.submit(encoder);
    assert_same_bits(&[one.read().bits()], std::slice::from_ref(&expected), "one encoder");

    let mut passes = fresh();
    let mut encoder = gpu.encoder();
    for step in 0..STEPS {
        schedule(&mut passes, step);
        let prepared = passes.optimizer.prepare(&mut encoder).unwrap();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        prepared.encode(&mut pass);
    }
    gpu.submit(encoder);
    assert_same_bits(&[passes.read().bits()], std::slice::from_ref(&expected), "the caller's passes");

    let mut two_encoders = fresh();
    let mut buffers = vec![];
    for step in 0..STEPS {
        schedule(&mut two_encoders, step);
        let mut encoder = gpu.encoder();
        two_encoders.optimizer.step(&mut encoder).unwrap();
        buffers.push(encoder.finish());
    }
    gpu.queue.submit(buffers);
    assert_same_bits(
        &[two_encoders.read().bits()],
        std::slice::from_ref(&expected),
        "many encoders, one submit",
    );
}

/// Without decay, and with moments that start at 0, a gradient that is zero from the start moves nothing.
fn zero_gradient_moves_nothing(gpu: &Gpu, config: &AnyRule) {
    let mut config = config.clone();
    // A rule whose range excludes 0 has no decay-free form; none does so far.
    for field in ["weight_decay", "initial_accumulator"] {
        if config.get(field).is_some() {
            config.set(field, 0.0).unwrap();
        }
    }
    let lens = [513];
    let theta = parameters(6, &lens);
    let mut run = Run::new(gpu, &[config], &[(513, 0)], BINDABLE, &Options::default());
    run.write_theta(&theta);
    for _ in 0..3 {
        run.step(&[vec![0.0; 513]]);
    }
    assert_same_bits(&bits(&run.read().theta), &bits(&theta), "three zero gradients");
}

/// A learning rate of 0 moves no parameter, whatever the gradients and the decay, and is taken back
/// without trace in the parameters' group.
fn zero_rate_moves_nothing(gpu: &Gpu, config: &AnyRule) {
    let Some(lr) = config.get("lr").filter(|_| !has_its_own_rate(config)) else { return };
    let mut still = config.clone();
    still.set("lr", 0.0).unwrap();
    let lens = [513];
    let theta = parameters(6, &lens);
    let mut run = Run::new(gpu, &[still], &[(513, 0)], BINDABLE, &Options::default());
    let words = run_steps(&mut run, &theta, &lens, 3);
    // Theta + 0 may lose the sign of a zero, nothing else.
    let unsigned = |x: &Vec<Vec<f32>>| x.concat().iter().map(|x| x.abs().to_bits()).collect::<Vec<_>>();
    assert_eq!(unsigned(&words.theta), unsigned(&theta));
    let group = run.params.group_of(run.tensors[0]).unwrap();
    run.optimizer.group_mut(group).unwrap().set("lr", lr).unwrap();
    // RAdam rests in its first five steps when told to, whatever the rate.
    for step in 3..6 {
        run.step(&gradients(7, step, &lens));
    }
    let moved = run.read().theta.concat().iter().zip(theta.concat()).filter(|(a, b)| **a != *b).count();
    assert!(moved > 300, "only {moved} of 513 move at the normal rate");
}

/// It goes down a parabola: 60 steps on f = |theta - target|^2 / 2 bring every coordinate closer.
fn goes_downhill(gpu: &Gpu, config: &AnyRule) {
    let mut config = config.clone();
    config.set("lr", 0.02).unwrap();
    if config.get("weight_decay").is_some() {
        config.set("weight_decay", 0.0).unwrap();
    }
    let n = 64;
    let target: Vec<f32> = (0..n).map(|i| 3.0 + i as f32 / 10.0).collect();
    let mut run = Run::new(gpu, &[config], &[(n, 0)], BINDABLE, &Options::default());
    run.write_theta(&[vec![0.0; n]]);
    for _ in 0..60 {
        let theta = run.read().theta.concat();
        run.step(&[theta.iter().zip(&target).map(|(theta, target)| theta - target).collect()]);
    }
    let theta = run.read().theta.concat();
    let closer =
        theta.iter().zip(&target).filter(|(theta, target)| (**target - **theta).abs() < target.abs()).count();
    assert_eq!(closer, n, "theta {theta:?}");
}

/// What is not finite replaces its own parameter and reaches no other, on every adapter.
fn poison_stays_where_it_is(gpu: &Gpu, config: &AnyRule) {
    let poison = [
        ("NaN", f32::NAN),
        ("a NaN with a payload", f32::from_bits(0xffc0_1234)),
        ("infinity", f32::INFINITY),
        ("minus infinity", f32::NEG_INFINITY),
        ("the largest number, whose square overflows", f32::MAX),
        ("a subnormal number", f32::from_bits(1)),
        ("minus zero", -0.0),
    ];
    let lens = [259];
    let theta = parameters(11, &lens);
    for (name, value) in poison {
        let run = |poisoned: bool| {
            let mut run =
                Run::new(gpu, std::slice::from_ref(config), &[(259, 0)], BINDABLE, &Options::default());
            run.write_theta(&theta);
            for step in 0..3 {
                let mut g = gradients(12, step, &lens);
                if poisoned && step == 1 {
                    for at in [0, 130, 258] {
                        g[0][at] = value;
                    }
                }
                run.step(&g);
            }
            run.read()
        };
        let (clean, poisoned) = (run(false), run(true));
        let (clean, dirty) = (bits(&clean.theta).concat(), bits(&poisoned.theta).concat());
        for i in 0..259 {
            if ![0, 130, 258].contains(&i) {
                // Through a norm, what is not there any more acts on the others.
                assert!(f32::from_bits(dirty[i]).is_finite(), "{name}: element {i} is not the poisoned one");
                if reduces(config) {
                    continue;
                }
                assert_eq!(clean[i], dirty[i], "{name}: element {i} is not the poisoned one");
            } else if !value.is_finite() {
                let got = f32::from_bits(dirty[i]);
                assert!(!got.is_finite(), "{name}: a parameter of {got} hides the gradient");
            }
        }
    }
}

/// What holds for a configuration on a device.
type Claim = fn(&Gpu, &AnyRule);

fn main() {
    gpu_main("invariants", |adapter| {
        let claims: [(&str, Claim); 7] = [
            ("a group equals a separate optimizer", group_equals_separate_optimizer),
            ("any split gives the same bits", any_split_gives_the_same_bits),
            ("recording does not matter", recording_does_not_matter),
            ("zero gradient moves nothing", zero_gradient_moves_nothing),
            ("zero rate moves nothing", zero_rate_moves_nothing),
            ("goes downhill", goes_downhill),
            ("poison stays where it is", poison_stays_where_it_is),
        ];
        let mut trials = vec![];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                for (name, claim) in claims {
                    let config = config.clone();
                    let name = format!("{} variant {i}: {name}", entry.name);
                    trials.push(trial(adapter, name, move |gpu| claim(gpu, &config)));
                }
            }
        }
        trials
    });
}
