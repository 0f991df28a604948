//! Claims about sizes: one element, every size around a tile, more tiles than one dimension of a
//! dispatch holds, empty tensors and groups, many tensors, many groups; and nothing outside is touched.

mod common;

use common::run::{BINDABLE, GUARD, Home, Run, TOGETHER, gradients, parameters, read_words, resolve, shape};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::rules::Sgd;
use wgpu_optim::{AnyRule, Options, Packing, ParamSet};

fn tile(tile: u32) -> Options {
    let mut options = Options::default();
    options.tile = Some(tile);
    options
}

/// Three checked steps over tensors of these sizes, dealt to two groups so that none merge.
fn checked(gpu: &Gpu, config: &AnyRule, lens: &[usize], home: Home, options: &Options) {
    let tensors: Vec<_> = lens.iter().enumerate().map(|(i, len)| (*len, i % 2)).collect();
    let mut run = Run::new(gpu, &[config.clone(), config.clone()], &tensors, home, options);
    run.write_theta(&parameters(1, lens));
    let mut words = run.read();
    for step in 0..3 {
        let (after, worst) = run.checked_step(&words, &gradients(2, step, lens));
        assert!(worst.units <= 1.0, "{:.3} of the interval at {}", worst.units, worst.place);
        words = after;
    }
}

/// One element alone.
fn one_element(gpu: &Gpu, config: &AnyRule) {
    checked(gpu, config, &[1], BINDABLE, &Options::default());
    checked(gpu, config, &[1], Home::Own { gap: 1 }, &Options::default());
}

/// Every size from one tile to two.
fn sizes_around_a_tile(gpu: &Gpu, config: &AnyRule) {
    let lens: Vec<usize> = (255..=514).collect();
    checked(gpu, config, &lens, BINDABLE, &tile(256));
}

/// Words before, between and behind the tensors in the caller's buffers stay as they are, in both
/// ways of access; the gradients are only read.
fn guard_words_stay(gpu: &Gpu, config: &AnyRule) {
    let own = [1, 3, 64].map(|gap| Home::Own { gap });
    for home in own.into_iter().chain([TOGETHER]) {
        let lens = [1usize, 2, 3, 4, 5, 255, 256, 257, 1, 1027];
        let tensors: Vec<_> = lens.iter().enumerate().map(|(i, len)| (*len, i % 2)).collect();
        let configs = [config.clone(), config.clone()];
        let mut run = Run::new(gpu, &configs, &tensors, home, &tile(256));
        run.write_theta(&parameters(1, &lens));
        let g = gradients(2, 0, &lens);
        for _ in 0..2 {
            run.step(&g);
        }
        let (buffers, starts) = run.own.clone().unwrap();
        let mut words = buffers.each_ref().map(|buffer| read_words(gpu, buffer));
        let one = buffers[0] == buffers[1];
        for (i, [param, grad]) in starts.into_iter().enumerate() {
            for (k, g) in g[i].iter().enumerate() {
                let word = words[1][grad + k];
                assert_eq!(word, g.to_bits(), "{home:?}: gradient {k} of tensor {i} was written");
            }
            words[0][param..param + lens[i]].fill(GUARD);
            words[1][grad..grad + lens[i]].fill(GUARD);
            // Both are the same words.
            if one {
                words[0][grad..grad + lens[i]].fill(GUARD);
                words[1][param..param + lens[i]].fill(GUARD);
            }
        }
        let written = words.concat().iter().position(|word| *word != GUARD);
        assert_eq!(written, None, "{home:?}: a word that belongs to no tensor was written");
    }
}

/// Groups without tensors and tensors without elements cost nothing and do no harm.
fn empty_groups_and_tensors(gpu: &Gpu, config: &AnyRule) {
    let configs = [config.clone(), config.clone(), config.clone()];
    let tensors = [(0, 0), (5, 2), (0, 2)];
    let lens = [0, 5, 0];
    let mut run = Run::new(gpu, &configs, &tensors, BINDABLE, &Options::default());
    run.write_theta(&parameters(1, &lens));
    let before = run.read();
    let (_, worst) = run.checked_step(&before, &gradients(2, 0, &lens));
    assert!(worst.units <= 1.0, "{}", worst.place);
    let dispatches = common::dispatches(wgpu_optim::rule::Config::rule(config));
    assert_eq!(run.optimizer.dispatches_per_step(), dispatches);

    let mut nothing = Run::new(gpu, &configs[..1], &[(0, 0)], BINDABLE, &Options::default());
    nothing.step(&[vec![]]);
    assert_eq!((nothing.optimizer.dispatches_per_step(), nothing.optimizer.steps()), (0, 1));
    assert_eq!(nothing.read().theta, [Vec::<f32>::new()]);
}

/// More tiles than 65 535, the largest dispatch in one dimension.
fn more_tiles_than_one_dimension(gpu: &Gpu) {
    let len = 65_537 * 256 - 3;
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    let id = builder.tensor("large", [len], group);
    let params = builder.build(&gpu.device).unwrap();
    let theta: Vec<f32> = (0..len).map(|i| i as f32).collect();
    params.write_param(&gpu.queue, id, &theta).unwrap();
    params.write_grad(&gpu.queue, id, &vec![1.0; len]).unwrap();
    let sgd = AnyRule::new(Sgd { lr: 0.5, ..Sgd::default() });
    let mut optimizer =
        wgpu_optim::Optimizer::with_options(&gpu.device, &gpu.queue, &params, [sgd], &tile(256)).unwrap();
    assert_eq!(optimizer.dispatches_per_step(), 1);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).unwrap();
    let download = params.download_param(&mut encoder, id).unwrap();
    gpu.submit(encoder);
    let after = &resolve(gpu, vec![download])[0];
    let wrong = theta.iter().zip(after).position(|(before, after)| *after != before - 0.5);
    assert_eq!(wrong, None, "first element that did not move by lr g");
}

/// Ten thousand tensors in one dispatch, checked in full.
fn ten_thousand_tensors(gpu: &Gpu) {
    let adam = AnyRule::named("adamw").unwrap();
    for packing in [Packing::Tight, Packing::Bindable] {
        let lens: Vec<usize> = (0..10_000).map(|i| 1 + i * 7 % 61).collect();
        let tensors: Vec<_> = lens.iter().enumerate().map(|(i, len)| (*len, i / 5000)).collect();
        let mut run =
            Run::new(gpu, &[adam.clone(), adam.clone()], &tensors, Home::Arena(packing), &Options::default());
        assert_eq!(run.optimizer.dispatches_per_step(), 1);
        run.write_theta(&parameters(1, &lens));
        let before = run.read();
        let (_, worst) = run.checked_step(&before, &gradients(2, 0, &lens));
        assert!(worst.units <= 1.0, "{}", worst.place);
    }
}

/// A thousand groups, each with a rate of its own, in one dispatch.
fn a_thousand_groups(gpu: &Gpu) {
    let config = |i: usize| {
        let mut adam = AnyRule::named("adamw").unwrap();
        adam.set("lr", 1e-5 * (i + 1) as f64).unwrap();
        adam
    };
    let configs: Vec<AnyRule> = (0..1000).map(config).collect();
    let tensors: Vec<_> = (0..1000).map(|i| (1 + i % 300, i)).collect();
    let lens: Vec<usize> = tensors.iter().map(|(len, _)| *len).collect();
    let mut run = Run::new(gpu, &configs, &tensors, BINDABLE, &Options::default());
    assert_eq!(run.optimizer.dispatches_per_step(), 1);
    run.write_theta(&parameters(1, &lens));
    let before = run.read();
    let (_, worst) = run.checked_step(&before, &gradients(2, 0, &lens));
    assert!(worst.units <= 1.0, "{}", worst.place);
}

/// Matrices of several blocks in both directions, one with rows of a multiple of four, two of them in one tensor, and one
/// with other rows.
fn large_matrices(gpu: &Gpu, config: &AnyRule) {
    let lens = [264_967, 270_336];
    assert_eq!(lens.map(shape), [vec![257, 1031], vec![2, 256, 528]]);
    checked(gpu, config, &lens, BINDABLE, &Options::default());
}

/// What holds for a configuration on a device.
type Claim = fn(&Gpu, &AnyRule);

fn main() {
    gpu_main("boundaries", |adapter| {
        let claims: [(&str, Claim); 4] = [
            ("one element", one_element),
            ("every size from one tile to two", sizes_around_a_tile),
            ("guard words stay", guard_words_stay),
            ("empty groups and tensors", empty_groups_and_tensors),
        ];
        let mut trials = vec![
            trial(adapter, "more tiles than 65 535", more_tiles_than_one_dimension),
            trial(adapter, "10 000 tensors", ten_thousand_tensors),
            trial(adapter, "1 000 groups", a_thousand_groups),
        ];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                if config.rule().spec().is_factored() {
                    let name = format!("{} variant {i}: large matrices", entry.name);
                    trials.push(trial(adapter, name, move |gpu| large_matrices(gpu, &config)));
                }
            }
            // The variant with the most slots.
            let kept =
                |config: &AnyRule| common::program(config).slots.iter().map(|slot| slot.depth).sum::<u32>();
            let config = (entry.variants)().into_iter().max_by_key(kept).unwrap();
            for (name, claim) in claims {
                let config = config.clone();
                trials
                    .push(trial(adapter, format!("{}: {name}", entry.name), move |gpu| claim(gpu, &config)));
            }
        }
        trials
    });
}
