//! Ranks that do not go together.

use super::*;
use std::time::{Duration, Instant};
use wgpu_optim_mpi::{Error, Sharding, everyone};

/// Every difference is named, by all ranks.
pub fn another_model(world: &SimpleCommunicator, lab: &Lab) {
    let adam = AnyRule::named("adam").unwrap();
    let last = ranks(world) - 1;
    let is_other = rank(world) == last;
    let said = |tensors: usize, rule: AnyRule, options: Options, sharding: Sharding| {
        let set = set(lab, tensors);
        sharded(world, lab, &set, &rule, &options, &sharding).unwrap_err()
    };
    let check = |error: Error, wanted: &str| {
        let Error::Differs { rank, what } = &error else { panic!("{error}") };
        assert!(*rank == last && what == wanted, "{error}");
    };
    let all = MODEL.len();
    let standard = || (Options::default(), Sharding::default());
    let (options, sharding) = standard();
    let error = said(if is_other { all - 1 } else { all }, adam.clone(), options, sharding);
    // Where one has a tensor more, the other has its groups.
    check(error, "rule of group 'weights': adam here, nothing there");

    let (options, sharding) = standard();
    let rule = AnyRule::named(if is_other { "madam" } else { "adam" }).unwrap();
    check(said(all, rule, options, sharding), "rule of group 'weights': madam here, adam there");

    let (options, sharding) = standard();
    let mut rule = adam.clone();
    if is_other {
        rule.set("lr", 0.25).unwrap();
    }
    let error = said(all, rule, options, sharding);
    let text = error.to_string();
    assert!(text.contains("options of group 'weights'") && text.contains("0.25"), "{text}");

    let (mut options, sharding) = standard();
    if is_other {
        options.wrappers.max_grad_norm = Some(3.0);
    }
    let text = said(all, adam.clone(), options, sharding).to_string();
    assert!(text.contains("options around the rule") && text.contains("\"max_grad_norm\":3.0"), "{text}");

    let (options, mut sharding) = standard();
    sharding.cut = !is_other;
    let text = said(all, adam.clone(), options, sharding).to_string();
    assert!(text.contains("sharding: Mean, cut false"), "{text}");

    // What no rank can share out is refused by all, and leaves nobody waiting.
    let (mut options, sharding) = standard();
    options.own_steps = true;
    let text = said(all, adam.clone(), options, sharding).to_string();
    assert!(text.contains("'own_steps' cannot be shared out over ranks"), "{text}");
    // So is what one of them cannot do.
    let (mut options, sharding) = standard();
    options.wrappers.max_grad_norm = Some(-1.0);
    let text = said(all, adam, options, sharding).to_string();
    assert!(text.contains("rank 0 failed") && text.contains("max_grad_norm"), "{text}");
}

/// A rank without an adapter tells the others.
pub fn no_adapter(world: &SimpleCommunicator) {
    let own = if rank(world) == 1 { Err("no adapter gives a device") } else { Ok(()) };
    let error = everyone(world, own, Duration::from_secs(60)).unwrap_err();
    assert_eq!(error.to_string(), "rank 1 failed: no adapter gives a device");
    everyone(world, Ok::<(), String>(()), Duration::from_secs(60)).unwrap();
}

/// The others wait as long as they said.
pub fn a_rank_hangs(world: &SimpleCommunicator, lab: &Lab) {
    let set = set(lab, MODEL.len());
    let mut sharding = Sharding::default();
    sharding.timeout = Duration::from_secs(2);
    let adam = AnyRule::named("adam").unwrap();
    // Devices and pipelines take their time where ranks share a core.
    let mut patient = sharding.clone();
    patient.timeout = Duration::from_secs(60);
    drop(sharded(world, lab, &set, &adam, &Options::default(), &patient).unwrap());
    let shared = sharded(world, lab, &set, &adam, &Options::default(), &sharding);
    if let Ok(mut shared) = shared {
        shared.step().unwrap();
        if rank(world) == 1 {
            // Longer than the others wait.
            std::thread::sleep(Duration::from_secs(10));
            // Nothing that they began can be ended any more.
            std::process::exit(0);
        }
        let start = Instant::now();
        let error = shared.step().unwrap_err();
        assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
        assert!(error.to_string().contains("within 2 s: gradients"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        println!("noticed: {error}");
        // mpirun ends all when the first one leaves.
        std::thread::sleep(Duration::from_secs(2));
        std::process::exit(0);
    }
    panic!("{:?}", shared.err());
}
