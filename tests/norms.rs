//! Claims about the deterministic sums: right to 1e-6 for any magnitudes and sizes, the same bits every time
//! and for any split into windows and encoders, per tensor where they are per tensor; what is divided by a norm is
//! right wherever the quotient is a number, also where the norm lies beyond f32.

mod common;

use common::run::{BINDABLE, Home, Run, gradients, parameters, resolve};
use common::{Gpu, gpu_main, trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::reference::Reference;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::rules::{Lamb, Sgd};
use wgpu_optim::{AnyRule, LossScale, Options, Packing, Wrappers};

fn around(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.wrappers = wrappers;
    options
}

fn clipping(max_grad_norm: f64) -> Options {
    around(Wrappers { max_grad_norm: Some(max_grad_norm), ..Wrappers::default() })
}

/// The norm that the device finds, and the count of what is not finite.
fn measured(gpu: &Gpu, lens: &[usize], g: &[Vec<f32>], home: Home) -> (f32, f32) {
    let tensors: Vec<_> = lens.iter().map(|len| (*len, 0)).collect();
    let sgd = AnyRule::new(Sgd::default());
    let mut run = Run::new(gpu, &[sgd], &tensors, home, &clipping(1.0));
    run.step(g);
    let mut encoder = gpu.encoder();
    let download = run.optimizer.download_grad_norm(&mut encoder).unwrap();
    gpu.submit(encoder);
    let words = resolve(gpu, vec![download]).concat();
    (words[0], words[1])
}

fn truth(g: &[Vec<f32>]) -> f64 {
    let squares = g.iter().flatten().filter(|x| x.is_finite()).map(|x| f64::from(*x).powi(2));
    squares.sum::<f64>().sqrt()
}

fn close(got: f32, truth: f64, what: &str) {
    let error = (f64::from(got) - truth).abs();
    assert!(error <= 1e-6 * truth, "{what}: got {got:e}, truth {truth:e}, relative {:e}", error / truth);
}

/// From the smallest to the largest numbers, where naive squares underflow or overflow.
fn right_over_all_magnitudes(gpu: &Gpu) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let lens = [5000, 3, 260];
    for exponent in [-39, -37, -30, -25, -19, -12, -7, 0, 7, 12, 18, 19, 25, 30, 36] {
        let scale = 10f64.powi(exponent);
        let mut one = || (rng.random_range(-1.0..1.0) * scale) as f32;
        let g: Vec<Vec<f32>> = lens.iter().map(|len| (0..*len).map(|_| one()).collect()).collect();
        close(measured(gpu, &lens, &g, BINDABLE).0, truth(&g), &format!("magnitude 1e{exponent}"));
    }
    // All of them at once, and each alone among zeros.
    let mixed: Vec<f32> = (0..4000).map(|i| 10f32.powi(i % 70 - 35)).collect();
    let mixed = [mixed];
    close(measured(gpu, &[4000], &mixed, BINDABLE).0, truth(&mixed), "mixed magnitudes");
    for value in [1e-37f32, 1e-20, 1.0, 1e20, 3e38] {
        let mut g = vec![0.0; 777];
        g[321] = value;
        close(measured(gpu, &[777], &[g], BINDABLE).0, f64::from(value), "one among zeros");
    }
    assert_eq!(measured(gpu, &[777], &[vec![0.0; 777]], BINDABLE), (0.0, 0.0));
    // Quads on both sides of each bound between sums, none so small that it would not count.
    for (large, small) in [(1.2e12, 1e12), (1.0, 9e-13), (9.1e-13, 9e-13), (1e-37, 1e-38)] {
        let mut g = vec![0.0; 8];
        (g[0], g[4]) = (large, small);
        let g = [g];
        close(measured(gpu, &[8], &g, BINDABLE).0, truth(&g), &format!("{large:e} and {small:e}"));
    }
    // A norm that f32 does not hold is said to be the largest number.
    assert_eq!(measured(gpu, &[2], &[vec![3e38; 2]], BINDABLE), (f32::MAX, 0.0));
}

/// The change of one tensor that starts at `theta` in one step, on the device and in the reference.
fn change(gpu: &Gpu, json: &str, wrappers: Wrappers, theta: &[f32], g: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let config = AnyRule::from_json(json).unwrap();
    let tensors = [(g.len(), 0)];
    let mut run = Run::new(gpu, std::slice::from_ref(&config), &tensors, BINDABLE, &around(wrappers));
    run.write_theta(&[theta.to_vec()]);
    run.step(&[g.to_vec()]);
    let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let mut reference = Reference::new([config], [(0, wide(theta))]).unwrap().wrapped(wrappers).unwrap();
    reference.step(&[wide(g)]).unwrap();
    let less = |after: &[f64]| after.iter().zip(theta).map(|(x, start)| x - f64::from(*start)).collect();
    (less(&wide(&run.read().theta[0])), less(&reference.tensors()[0].theta))
}

/// Gradients whose norm, or one over it, f32 does not hold: what clipping and trust ratios make of them is a number.
fn quotients_survive(gpu: &Gpu) {
    let sgd = r#"{"optimizer": "sgd", "lr": 1}"#;
    let clip = Wrappers { max_grad_norm: Some(1.0), ..Wrappers::default() };
    let tensor = Wrappers { max_tensor_norm: Some(1.0), ..Wrappers::default() };
    let scaled = |initial| Some(LossScale { initial, ..LossScale::default() });
    let around: [(&str, &str, Wrappers); 9] = [
        ("max_grad_norm", sgd, clip),
        ("a small norm", sgd, Wrappers { max_grad_norm: Some(1e-30), ..clip }),
        ("max_tensor_norm", sgd, tensor),
        ("both", sgd, Wrappers { max_tensor_norm: Some(0.5), ..clip }),
        ("both, the other way", sgd, Wrappers { max_grad_norm: Some(2.0), ..tensor }),
        ("grad_accumulation_steps", sgd, Wrappers { grad_accumulation_steps: Some(4), ..clip }),
        ("loss scale", sgd, Wrappers { loss_scale: scaled(2.0), ..clip }),
        ("gclip", r#"{"optimizer": "gclip", "lr": 1}"#, Wrappers::default()),
        ("lars", r#"{"optimizer": "lars", "lr": 1, "trust_coefficient": 1}"#, Wrappers::default()),
    ];
    for (name, json, wrappers) in around {
        for g in [[3e38f32, 3e38], [3e38, 1e30], [1e25, -1e25], [1.0, 2.0], [1e-20, 1e-21], [1e-30, 0.0]] {
            // At 0 LARS has no trust ratio, and elsewhere theta rounds the step.
            let theta = if name == "lars" { [1e-3, 2e-3] } else { [0.0, 0.0] };
            let (got, want) = change(gpu, json, wrappers, &theta, &g);
            for ((got, want), theta) in got.iter().zip(&want).zip(theta) {
                let flushed = f64::from(f32::MIN_POSITIVE);
                let allowed = (2e-6 * want.abs() + 2f64.powi(-23) * f64::from(theta)).max(flushed);
                assert!((got - want).abs() <= allowed, "{name}, g = {g:?}: {got:e}, {want:e}");
            }
        }
    }
    let (got, _) = change(gpu, sgd, clip, &[0.0; 2], &[3e38; 2]);
    got.iter().for_each(|x| close(-*x as f32, 0.5f64.sqrt(), "a gradient of 3e38"));
    // LAMB's v is f32, and 1e25 squared is not: clipping before it is the way out.
    let lamb = r#"{"optimizer": "lamb", "lr": 0.1, "weight_decay": 0}"#;
    let (got, _) = change(gpu, lamb, clip, &[3.0, 4.0], &[1e25; 2]);
    got.iter().for_each(|x| assert!((*x + 0.353_553_39).abs() < 1e-6, "{got:?}"));
    let (got, want) = change(gpu, lamb, Wrappers::default(), &[3.0, 4.0], &[1e19; 2]);
    got.iter().zip(&want).for_each(|(got, want)| assert!((got - want).abs() < 1e-6, "{got} {want}"));
}

/// The norm that is clipped is that of what was unscaled, and what overflows only then is an overflow too.
fn unscaled_norms(gpu: &Gpu) {
    let sgd = r#"{"optimizer": "sgd", "lr": 1}"#;
    let wrappers = |initial: f64, clip| Wrappers {
        max_grad_norm: clip,
        loss_scale: Some(LossScale { initial, ..LossScale::default() }),
        ..Wrappers::default()
    };
    let scale = 2f64.powi(40);
    let mut g = vec![(0.95 * scale) as f32; 4000];
    g[2000] = (1.05 * scale) as f32;
    let (got, _) = change(gpu, sgd, wrappers(scale, Some(1.0)), &[0.0; 4000], &g);
    close(got.iter().map(|x| x * x).sum::<f64>().sqrt() as f32, 1.0, "the norm of the clipped gradient");
    for clip in [None, Some(1.0)] {
        // 1e35 2^20 is not in f32; 1e32 2^20 is.
        for (value, moves) in [(1e35f32, false), (1e32, true)] {
            let wrappers = wrappers(2f64.powi(-20), clip);
            let (got, want) = change(gpu, sgd, wrappers, &[1.0; 5], &[0.0, value, 0.0, 1.0, 0.0]);
            assert_eq!(got[1] != 0.0, moves, "{value:e}, {clip:?}: {got:?}");
            assert_eq!(want[1] != 0.0, moves, "the reference");
        }
    }
}

/// What is not finite is counted and left out.
fn counts_what_is_not_finite(gpu: &Gpu) {
    let mut g = gradients(3, 0, &[9000]);
    for (at, value) in [(0, f32::NAN), (4097, f32::INFINITY), (8999, f32::NEG_INFINITY)] {
        g[0][at] = value;
    }
    let (norm, count) = measured(gpu, &[9000], &g, BINDABLE);
    assert_eq!(count, 3.0);
    close(norm, truth(&g), "with three that are not finite");
}

/// Sizes around quads, workgroups and tiles, and nine decades of gradients.
fn right_for_any_size(gpu: &Gpu) {
    for len in [1, 2, 3, 4, 5, 255, 256, 257, 4095, 4096, 4097, 8191, 8193, 100_003] {
        let g = gradients(4, 0, &[len]);
        for home in [BINDABLE, Home::Own { gap: 3 }] {
            close(measured(gpu, &[len], &g, home).0, truth(&g), &format!("{len} elements, {home:?}"));
        }
    }
    let lens: Vec<usize> = (0..10_000).map(|i| 1 + i * 7 % 61).collect();
    let g = gradients(5, 0, &lens);
    close(measured(gpu, &lens, &g, Home::Arena(Packing::Tight)).0, truth(&g), "10 000 tensors");
}

/// 2^24 values of one sign, where a serial f32 sum would stand still.
fn right_for_many(gpu: &Gpu) {
    right_for(gpu, 1 << 24);
}

/// Several windows, and more tiles than the two levels of the tree have invocations.
fn right_for_a_hundred_million(gpu: &Gpu) {
    right_for(gpu, 1 << 27);
}

fn right_for(gpu: &Gpu, len: usize) {
    // All of one sign and size, where rounding errors may all go one way.
    let g: Vec<f32> = (0..len).map(|i| 1.0 + (i % 7) as f32 / 8.0).collect();
    let g = [g];
    close(measured(gpu, &[len], &g, BINDABLE).0, truth(&g), &format!("{len} values"));
}

/// The same bits from run to run and wherever the tensors lie.
fn same_bits(gpu: &Gpu) {
    let lens = [70_000, 3, 9000];
    let g = gradients(6, 0, &lens);
    let norm = |home| measured(gpu, &lens, &g, home).0.to_bits();
    let first = norm(BINDABLE);
    assert_eq!(norm(BINDABLE), first, "run to run");
    for home in [Home::Arena(Packing::Tight), Home::Own { gap: 64 }, Home::Own { gap: 3 }] {
        assert_eq!(norm(home), first, "{home:?}");
    }
}

/// Windows cut by a small binding limit give the bits of one window.
#[cfg(not(target_arch = "wasm32"))]
fn windows_do_not_matter(adapter: &wgpu_optim::wgpu::Adapter) {
    let limits = |binding| wgpu_optim::wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        ..wgpu_optim::required_limits(adapter)
    };
    for config in ["adamw", "lamb", "adafactor", "adashift"].map(|name| AnyRule::named(name).unwrap()) {
        let run = |binding| {
            let gpu = Gpu::open_with(adapter, limits(binding));
            let lens = [100_000, 5, 70_005];
            let tensors = [(100_000, 0), (5, 0), (70_005, 0)];
            let mut options = clipping(0.5);
            options.wrappers.max_tensor_norm = Some(0.4);
            options.wrappers.non_finite = wgpu_optim::NonFinite::Skip;
            options.wrappers.cautious = true;
            let mut run = Run::new(&gpu, std::slice::from_ref(&config), &tensors, BINDABLE, &options);
            run.write_theta(&parameters(1, &lens));
            for step in 0..4 {
                let mut g = gradients(2, step, &lens);
                if step == 1 {
                    g[2][70_004] = f32::NAN; // in the last window, and skipped in all
                }
                run.step(&g);
            }
            (run.optimizer.dispatches_per_step(), run.read().bits())
        };
        let (one, expected) = run(1 << 27);
        let (many, got) = run(1 << 18);
        assert!(many > one, "{many} dispatches are not more than {one}");
        assert!(got == expected, "{}: {many} dispatches differ from {one}", config.name());
    }
}

/// Three dispatches, whatever the number of groups and tensors.
fn dispatches_are_honest(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    for (tensors, groups) in [(1, 1), (500, 20)] {
        let lens: Vec<_> = (0..tensors).map(|i| (10, i % groups)).collect();
        let configs = vec![config.clone(); groups];
        let clipped = Run::new(gpu, &configs, &lens, BINDABLE, &clipping(1.0));
        assert_eq!(clipped.optimizer.dispatches_per_step(), 3);
        let plain = Run::new(gpu, &configs, &lens, BINDABLE, &Options::default());
        assert_eq!(plain.optimizer.dispatches_per_step(), 1);
    }
}

/// Ratios are each tensor's own: other tensors do not act on a tensor, however large they are.
fn ratios_are_per_tensor(gpu: &Gpu) {
    let lamb = AnyRule::new(Lamb { lr: 0.1, ..Lamb::default() });
    let lens = [300, 4097];
    let theta = parameters(1, &lens);
    let g = gradients(2, 0, &lens);
    let step = |members: &[usize]| {
        let tensors: Vec<_> = members.iter().map(|i| (lens[*i], 0)).collect();
        let mut run = Run::new(gpu, std::slice::from_ref(&lamb), &tensors, BINDABLE, &Options::default());
        run.write_theta(&members.iter().map(|i| theta[*i].clone()).collect::<Vec<_>>());
        run.step(&members.iter().map(|i| g[*i].clone()).collect::<Vec<_>>());
        run.read().theta
    };
    let together = step(&[0, 1]);
    assert!(together[0] == step(&[0])[0] && together[1] == step(&[1])[0], "one common ratio?");
}

/// A norm below the limit leaves a step as it is without clipping (in other bits, perhaps: another module may be
/// compiled to other roundings); above it, the rule sees scaled gradients.
fn clipping_only_above_the_limit(gpu: &Gpu, config: &AnyRule) {
    let lens = [1500, 77];
    let tensors = [(1500, 0), (77, 0)];
    let g = gradients(7, 0, &lens);
    // The error of a step, held against one without clipping.
    let error = |options: &Options| {
        let mut run = Run::new(gpu, std::slice::from_ref(config), &tensors, BINDABLE, options);
        run.write_theta(&parameters(1, &lens));
        let before = run.read();
        run.expect(Wrappers::default());
        run.checked_step(&before, &g).1
    };
    let below = error(&clipping(1.001 * truth(&g)));
    assert!(below.units <= 1.0, "below the limit: {below:?}");
    // Rules free of scale keep their parameters; some slot tells then, or the rule has no say in it.
    let scale_free = ["signsgd", "lion", "adadelta"].contains(&config.name());
    assert!(scale_free || error(&clipping(0.01 * truth(&g))).units > 1.0, "above the limit nothing changes");
}

/// What holds on a device.
type Claim = fn(&Gpu);

pub fn main() {
    gpu_main("norms", |adapter| {
        let claims: [(&str, Claim); 9] = [
            ("right over all magnitudes", right_over_all_magnitudes),
            ("quotients survive", quotients_survive),
            ("unscaled norms", unscaled_norms),
            ("what is not finite is counted", counts_what_is_not_finite),
            ("right for any size", right_for_any_size),
            ("right for many", right_for_many),
            ("same bits", same_bits),
            ("three dispatches", dispatches_are_honest),
            ("ratios are per tensor", ratios_are_per_tensor),
        ];
        let mut trials: Vec<_> =
            claims.into_iter().map(|(name, claim)| trial(adapter, name, claim)).collect();
        trials.push(trial(adapter, "right for a hundred million", right_for_a_hundred_million));
        // A browser gives no device whose limits are below WebGPU's own.
        #[cfg(not(target_arch = "wasm32"))]
        trials.push(trial(adapter, "windows do not matter", {
            let again = adapter.clone();
            move |_| windows_do_not_matter(&again)
        }));
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let name = format!("{} variant {i}: clipping only above the limit", entry.name);
                trials.push(trial(adapter, name, move |gpu| clipping_only_above_the_limit(gpu, &config)));
            }
        }
        trials
    });
}
