//! N ranks against one device that is given the reduced gradients.

use super::*;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim_mpi::Sharding;

fn small_buckets() -> Sharding {
    let mut sharding = Sharding::default();
    // So that tensors are in some buckets, and some in one.
    sharding.bucket = 4000;
    sharding
}

/// The largest difference of two runs' parameters, beyond two units in their last place, over the largest change of one of them.
fn apart(
    world: &SimpleCommunicator,
    lab: &Lab,
    rule: &AnyRule,
    options: &Options,
    sharding: &Sharding,
    tensors: usize,
) -> f64 {
    let (one, all) = (set(lab, tensors), set(lab, tensors));
    let theta = numbers(1, 0, 0, &one);
    write_params(lab, &one, &theta);
    // Rank 0's go to all.
    if rank(world) == 0 {
        write_params(lab, &all, &theta);
    }
    let mut optimizer = alone(lab, &one, rule, options);
    let mut shared = sharded(world, lab, &all, rule, options, sharding).unwrap();
    for step in 0..5 {
        let mut of_ranks: Vec<_> = (0..ranks(world)).map(|rank| numbers(2, step, rank, &one)).collect();
        if step == 3 && options.wrappers.non_finite == NonFinite::Skip {
            // Of the last rank only: all skip.
            of_ranks[ranks(world) - 1][0][5] = f32::INFINITY;
        }
        write_grads(lab, &all, &of_ranks[rank(world)]);
        write_grads(lab, &one, &reduced(&of_ranks));
        let mut encoder = lab.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder).unwrap();
        lab.queue.submit([encoder.finish()]);
        shared.step().unwrap();
    }
    if options.wrappers.zero_grad {
        for tensor in all.tensors() {
            let mut encoder = lab.device.create_command_encoder(&Default::default());
            let download = all.download_grad(&mut encoder, all.find(&tensor.name).unwrap()).unwrap();
            lab.queue.submit([encoder.finish()]);
            let poll = async { lab.device.poll(wgpu::PollType::wait_indefinitely()).unwrap() };
            let (values, _) = pollster::block_on(futures::future::join(download.read(), poll));
            assert!(values.unwrap().iter().all(|g| *g == 0.0), "a gradient of '{}' is left", tensor.name);
        }
    }
    let words = [params(lab, &one), params(lab, &all)];
    if words[0] == words[1] {
        return 0.0;
    }
    let (mut difference, mut change) = (0f64, 0f64);
    for ((one, all), theta) in words[0].iter().zip(&words[1]).zip(&theta) {
        for ((one, all), theta) in one.iter().zip(all).zip(theta) {
            let [one, all] = [one, all].map(|bits| f64::from(f32::from_bits(*bits)));
            difference = difference.max((one - all).abs() - 2.0 * f64::from(f32::EPSILON) * one.abs());
            change = change.max((one - f64::from(*theta)).abs());
        }
    }
    // Not 0, which is for the same bits.
    difference.max(f64::MIN_POSITIVE) / change
}

/// Every rule, by whole tensors.
pub fn plain(world: &SimpleCommunicator, lab: &Lab) {
    let mut sharding = small_buckets();
    sharding.cut = false;
    for entry in REGISTRY {
        let rule = (entry.variants)().remove(0);
        let apart = apart(world, lab, &rule, &Options::default(), &sharding, MODEL.len());
        assert_eq!(apart, 0.0, "{}", entry.name);
    }
}

/// Every rule with everything around it, by whole tensors, while steps are skipped.
pub fn around(world: &SimpleCommunicator, lab: &Lab) {
    let mut sharding = small_buckets();
    sharding.cut = false;
    for entry in REGISTRY {
        let rule = (entry.variants)().remove(0);
        let mut options = options(everything());
        // So that there are many terms, whose order shows.
        options.tile = Some(256);
        let apart = apart(world, lab, &rule, &options, &sharding, MODEL.len());
        assert_eq!(apart, 0.0, "{}", entry.name);
    }
}

/// Tensors that are cut by rows: the same bits without a norm over all, and the same but for its rounding with one. The share is
/// as small as it should be.
pub fn cut(world: &SimpleCommunicator, lab: &Lab) {
    for name in ["sgd", "adam", "adamod", "madam", "adashift", "prodigy"] {
        let rule = AnyRule::named(name).unwrap();
        let plain = apart(world, lab, &rule, &Options::default(), &small_buckets(), MODEL.len());
        // Prodigy adds up over all tensors.
        assert!(if name == "prodigy" { plain < 1e-5 } else { plain == 0.0 }, "{name}: {plain}");
        let clipped = Wrappers { max_grad_norm: Some(0.5), ..Wrappers::default() };
        let apart = apart(world, lab, &rule, &options(clipped), &small_buckets(), MODEL.len());
        assert!(apart < 1e-5, "{name}, clipped: {apart}");
    }
    let all = set(lab, MODEL.len());
    let adam = AnyRule::named("adam").unwrap();
    let shared = sharded(world, lab, &all, &adam, &Options::default(), &Sharding::default()).unwrap();
    let bytes = 2 * 4 * all.elements();
    let share = shared.state_bytes() as f64 / bytes as f64;
    assert!(share <= 1.02 / ranks(world) as f64, "{share} of the state on rank {}", rank(world));
}

/// Some ranks have nothing to do, and agree with the others.
pub fn few_tensors(world: &SimpleCommunicator, lab: &Lab) {
    let mut sharding = Sharding::default();
    sharding.cut = false;
    for name in ["adam", "gclip", "prodigy", "lamb"] {
        let rule = AnyRule::named(name).unwrap();
        for wrappers in [Wrappers::default(), everything()] {
            assert_eq!(apart(world, lab, &rule, &options(wrappers), &sharding, 2), 0.0, "{name}");
        }
    }
}
