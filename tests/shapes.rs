//! Claim: how elements are dealt to invocations does not matter: every shape gives words that WGSL allows, and the same bits
//! where elements do not act on one another. So what a CPU adapter runs here is what a GPU's shape is held to.

mod common;

use common::run::{BINDABLE, Home, Run, check, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::program::Shape;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, NonFinite, Optimizer, Options, ParamSet, Wrappers};

const STEPS: u64 = 6;
const SHAPES: [Shape; 4] = [Shape::Long, Shape::Wide(64), Shape::Wide(128), Shape::Wide(256)];
/// Around the tiles of every shape, and more than one.
const TENSORS: [(usize, usize); 8] =
    [(1, 0), (64, 1), (257, 0), (512, 1), (1025, 0), (7, 0), (5000, 1), (300, 0)];

fn around(shape: Shape, wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.shape = Some(shape);
    options.wrappers = wrappers;
    options
}

/// Clipped and skipping, with slots around the rule.
fn wrapped() -> Wrappers {
    Wrappers {
        max_tensor_norm: Some(10.0),
        non_finite: NonFinite::Skip,
        ema: Some(0.9),
        zero_grad: true,
        ..Wrappers::default()
    }
}

fn every_word_is_allowed(gpu: &Gpu, config: &AnyRule) {
    for shape in [Shape::Wide(128), Shape::Wide(256)] {
        for (home, wrappers) in [(BINDABLE, Wrappers::default()), (Home::Own { gap: 3 }, wrapped())] {
            let worst = check(gpu, config, home, &around(shape, wrappers), STEPS);
            assert!(worst.units <= 1.0, "{shape:?}: {worst:?}");
        }
    }
}

fn run(gpu: &Gpu, config: &AnyRule, shape: Shape) -> Vec<u32> {
    let lens = TENSORS.map(|(len, _)| len);
    let configs = [config.clone(), config.clone()];
    let mut run = Run::new(gpu, &configs, &TENSORS, BINDABLE, &around(shape, Wrappers::default()));
    run.write_theta(&parameters(1, &lens));
    for step in 0..STEPS {
        run.step(&gradients(2, step, &lens));
    }
    run.read().bits()
}

fn the_same_bits(gpu: &Gpu, config: &AnyRule) {
    let long = run(gpu, config, Shape::Long);
    for shape in &SHAPES[1..] {
        assert!(run(gpu, config, *shape) == long, "{shape:?}");
    }
}

/// A shape is refused by its number, and by the device that does not have so many invocations.
fn refusals(gpu: &Gpu) {
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("w", [8], group);
    let params = params.build(&gpu.device).unwrap();
    let config = AnyRule::named("adam").unwrap();
    let options = around(Shape::Wide(96), Wrappers::default());
    let error = Optimizer::with_options(&gpu.device, &gpu.queue, &params, [config], &options).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    let message = "group 'every group': shape.wide = 96 is refused; it must be 64, 128 or 256";
    assert_eq!(error.to_string(), message);
}

fn main() {
    gpu_main("shapes", |adapter| {
        let mut trials = vec![trial(adapter, "other numbers are refused", refusals)];
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let name = |claim| format!("{} variant {i}: {claim}", entry.name);
                let rule = config.clone();
                trials.push(trial(adapter, name("every word is allowed"), move |gpu| {
                    every_word_is_allowed(gpu, &rule);
                }));
                let spec = config.rule().spec();
                let acts = config.rule().reduces() && spec.results().next().is_some() || spec.is_factored();
                if !acts {
                    trials
                        .push(trial(adapter, name("the same bits"), move |gpu| the_same_bits(gpu, &config)));
                }
            }
        }
        trials
    });
}
