//! Claim: a run that was saved and loaded into another optimizer goes on with the bits of one that never stopped: every rule,
//! with nothing and with everything around it, after skipped and dropped steps and changed rates, in the middle of rings,
//! accumulations and Lookahead.

mod common;

use common::run::{BINDABLE, Home, Run, gradients, parameters};
use common::{Gpu, gpu_main, trial, trial_of_its_own};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::wgpu::Adapter;
use wgpu_optim::{
    AnyRule, Error, Lookahead, LossScale, NonFinite, Optimizer, OptimizerState, Options, ParamSet, Snapshots,
    Wrappers,
};

const LENS: [usize; 4] = [1, 1500, 12, 4099];
const TENSORS: [(usize, usize); 4] = [(1, 0), (1500, 1), (12, 1), (4099, 0)];
/// Steps before the state is saved: in the middle of AdaShift's ring of 10, of Lookahead's 3 steps, of 2 micro-batches.
const BEFORE: u64 = 7;
const AFTER: u64 = 6;

fn around(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.wrappers = wrappers;
    options
}

fn everything() -> Options {
    around(Wrappers {
        lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
        ema: Some(0.9),
        max_grad_norm: Some(100.0),
        max_tensor_norm: Some(50.0),
        max_grad_value: Some(1.0),
        grad_accumulation_steps: Some(2),
        zero_grad: true,
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale { initial: 8.0, interval: 2, ..LossScale::default() }),
        cautious: false,
    })
}

fn start<'a>(gpu: &'a Gpu, config: &AnyRule, home: Home, options: &Options) -> Run<'a> {
    let mut other = config.clone();
    // Two groups that differ.
    let _ = other.set("weight_decay", 0.01);
    Run::new(gpu, &[config.clone(), other], &TENSORS, home, options)
}

/// A step whose rate depends on its number; some have gradients that are not finite, some are recorded and dropped.
fn step(run: &mut Run<'_>, number: u64) {
    for index in 0..2 {
        let group = run.params.group_of(run.tensors[index]).unwrap();
        let own = run.optimizer.group(group).unwrap().get("lr").unwrap_or(0.0);
        let _ = run.optimizer.group_mut(group).unwrap().set("lr", own * 0.9);
    }
    let mut gradients = gradients(2, number, &LENS);
    if number == 3 || number == 9 {
        gradients[1][700] = f32::INFINITY;
    }
    if number == 5 {
        run.optimizer.step(&mut run.gpu.encoder()).unwrap();
    }
    run.step(&gradients);
}

fn save(run: &Run<'_>) -> OptimizerState {
    run.optimizer.read_checkpoint_blocking(&run.params).unwrap()
}

/// A file that was written one tensor at a time has what was read at once, and is read so.
#[cfg(all(feature = "checkpoint", not(target_arch = "wasm32")))]
fn goes_by_file(run: &Run<'_>, state: &OptimizerState, resumed: &mut Run<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    run.optimizer.save_checkpoint_blocking(&run.params, &path).unwrap();
    assert!(OptimizerState::open(&path).unwrap() == *state, "a file has other words");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let rest = resumed.optimizer.load_checkpoint_blocking(&resumed.params, &path).unwrap();
    assert_eq!((rest.about(), rest.get("m/0")), (state.about(), None));
}
#[cfg(not(all(feature = "checkpoint", not(target_arch = "wasm32"))))]
fn goes_by_file(_: &Run<'_>, state: &OptimizerState, resumed: &mut Run<'_>) {
    resumed.params.load_params(&resumed.gpu.queue, state).unwrap();
    resumed.optimizer.load_state(state).unwrap();
}

/// Saves in the middle, goes on, and holds `resumed`, which starts from what was saved, against it.
fn goes_on(run: &mut Run<'_>, resumed: &mut Run<'_>) {
    run.write_theta(&parameters(1, &LENS));
    (0..BEFORE).for_each(|number| step(run, number));
    let state = save(run);
    // What another run has done before does not matter.
    resumed.write_theta(&parameters(5, &LENS));
    (20..23).for_each(|number| step(resumed, number));
    goes_by_file(run, &state, resumed);
    (BEFORE..BEFORE + AFTER).for_each(|number| step(run, number));
    let same = resumed.optimizer.program().hash() == run.optimizer.program().hash();
    for from_file in [true, false] {
        if !from_file {
            resumed.params.load_params(&resumed.gpu.queue, &state).unwrap();
            resumed.optimizer.load_state(&state).unwrap();
        }
        assert_eq!(resumed.optimizer.steps(), state.recorded());
        assert!(!same || save(resumed) == state, "what was loaded is what was saved");
        (BEFORE..BEFORE + AFTER).for_each(|number| step(resumed, number));
        assert!(resumed.read().bits() == run.read().bits(), "the run went on with other bits");
    }
}

fn resumes(gpu: &Gpu, config: &AnyRule, options: &Options) {
    goes_on(&mut start(gpu, config, BINDABLE, options), &mut start(gpu, config, BINDABLE, options));
}

/// A run that starts again is a new one.
fn starts_again(gpu: &Gpu, config: &AnyRule, options: &Options) {
    let mut new = start(gpu, config, BINDABLE, options);
    let mut used = start(gpu, config, BINDABLE, options);
    (0..BEFORE).for_each(|number| step(&mut used, number));
    used.optimizer.reset().unwrap();
    assert_eq!(used.optimizer.steps(), 0);
    for run in [&mut new, &mut used] {
        run.write_theta(&parameters(1, &LENS));
        for index in 0..2 {
            let group = run.params.group_of(run.tensors[index]).unwrap();
            let lr = config.get("lr");
            let _ = lr.map(|lr| run.optimizer.group_mut(group).unwrap().set("lr", lr));
        }
        (0..AFTER).for_each(|number| step(run, number));
    }
    assert!(used.read().bits() == new.read().bits(), "a run that started again took other steps");
}

fn is_by_element(config: &AnyRule) -> bool {
    let (rule, spec) = (config.rule(), config.rule().spec());
    !(spec.is_factored() || rule.reduces() && spec.results().next().is_some())
}

/// Into another program: other tiles, other places. Rules that add up over tiles take another tree then. Where steps may be
/// skipped, some invocations have no tile, and never count.
fn resumes_elsewhere(gpu: &Gpu, config: &AnyRule) {
    for non_finite in [NonFinite::Propagate, NonFinite::Skip] {
        let mut options = Options::default();
        options.wrappers.non_finite = non_finite;
        let mut small = options.clone();
        (small.tile, small.state_buffers) = (Some(256), Some(1));
        goes_on(
            &mut start(gpu, config, BINDABLE, &options),
            &mut start(gpu, config, Home::Own { gap: 3 }, &small),
        );
    }
}

/// A device is destroyed in mid-run; what was saved before goes on on another.
fn another_device(gpu: &Gpu, adapter: &Adapter) {
    let config = AnyRule::named("nadam").unwrap();
    let mut run = start(gpu, &config, BINDABLE, &everything());
    run.write_theta(&parameters(1, &LENS));
    (0..BEFORE).for_each(|number| step(&mut run, number));
    let state = save(&run);
    (BEFORE..BEFORE + AFTER).for_each(|number| step(&mut run, number));
    let expected = run.read().bits();
    gpu.device.destroy();
    let lost = run.optimizer.step(&mut gpu.encoder());
    assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");

    let other = Gpu::open(adapter);
    let mut resumed = start(&other, &config, BINDABLE, &everything());
    resumed.params.load_params(&other.queue, &state).unwrap();
    resumed.optimizer.load_state(&state).unwrap();
    (BEFORE..BEFORE + AFTER).for_each(|number| step(&mut resumed, number));
    assert!(resumed.read().bits() == expected, "another device went on with other bits");
}

/// What is read back now and then is what would have been read at that step, and a dropped encoder only delays it.
fn snapshots(gpu: &Gpu) {
    let config = AnyRule::named("nadam").unwrap();
    let mut run = start(gpu, &config, BINDABLE, &everything());
    run.write_theta(&parameters(1, &LENS));
    let mut snapshots = Snapshots::every(3);
    let mut read = vec![];
    for number in 0..8 {
        step(&mut run, number);
        let mut encoder = gpu.encoder();
        let recorded = snapshots.record(&run.optimizer, &run.params, &mut encoder).unwrap();
        if recorded && read.is_empty() {
            // Dropped: it never arrives, and another is taken at the next step.
            drop(encoder);
            gpu.device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
            assert!(snapshots.latest().is_none());
            read.push(number);
            continue;
        }
        gpu.submit(encoder);
        gpu.device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
        if recorded {
            let latest = snapshots.latest().unwrap();
            assert!(*latest == save(&run), "it is what was there at step {number}");
            read.push(number);
        }
    }
    // Step 5 is recorded twice, as number 6.
    assert_eq!(read, [2, 3, 5]);
}

/// What does not fit is named, and changes nothing; what fits can be taken alone.
fn misfits(gpu: &Gpu) {
    let adam = AnyRule::named("adam").unwrap();
    let options = Options::default();
    let mut run = start(gpu, &adam, BINDABLE, &options);
    (0..3).for_each(|number| step(&mut run, number));
    let state = save(&run);

    let mut params = ParamSet::builder();
    let (a, b) = (params.group("group 0"), params.group("group 1"));
    params.tensor("tensor 0", [1], a);
    params.tensor("tensor 1", [30, 50], b);
    let new = params.tensor("tensor 9", [5], b);
    let params = params.build(&gpu.device).unwrap();
    let mut other = Optimizer::new(&gpu.device, &gpu.queue, &params, [adam.clone(), adam.clone()]).unwrap();
    let before = other.read_checkpoint_blocking(&params).unwrap();
    let refused = other.load_state(&state).unwrap_err().to_string();
    for part in
        ["'tensor 9' is not in the state", "'tensor 2' of the state is not here", "'tensor 1' has shape"]
    {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    #[cfg(all(feature = "checkpoint", not(target_arch = "wasm32")))]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let mut load = |path| other.load_checkpoint_blocking(&params, path).unwrap_err();
        assert!(matches!(load(&path), wgpu_optim::Error::File { .. }));
        state.save(&path).unwrap();
        assert_eq!(load(&path).to_string(), refused);
        // All that there is to a run, but not its parameters.
        let mut encoder = gpu.encoder();
        let download = run.optimizer.download_state(&mut encoder);
        gpu.submit(encoder);
        let poll = async { gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap() };
        let (bare, _) = pollster::block_on(futures::future::join(download.read(), poll));
        bare.unwrap().save(&path).unwrap();
        let bare = run.optimizer.load_checkpoint_blocking(&run.params, &path).unwrap_err().to_string();
        assert!(bare.contains("'param/tensor 0' is not in it"), "{bare}");
        assert!(save(&run) == state, "nothing was changed");
    }
    assert!(other.read_checkpoint_blocking(&params).unwrap() == before, "nothing was changed");
    assert!(params.load_params(&gpu.queue, &state).is_err());
    let left = other.load_what_fits(&state).unwrap();
    assert!(left.len() >= 4, "{left:?}");
    let after = other.read_checkpoint_blocking(&params).unwrap();
    assert_eq!((after.get("m/tensor 0"), after.taken()), (state.get("m/tensor 0"), 3));
    let slot = other.read_slot_blocking(&gpu.queue, new, "m").unwrap();
    assert_eq!(slot, [0.0; 5], "what is new starts as it did");

    // Other groups: what is of none of the state's starts anew.
    let mut params = ParamSet::builder();
    let only = params.group("group 1");
    params.tensor("tensor 0", [1], only);
    let params = params.build(&gpu.device).unwrap();
    let mut other = Optimizer::new(&gpu.device, &gpu.queue, &params, [adam.clone()]).unwrap();
    let refused = other.load_state(&state).unwrap_err().to_string();
    assert!(refused.contains("the groups are [group 0, group 1] in the state, [group 1] here"), "{refused}");
    other.load_what_fits(&state).unwrap();
    assert_eq!((other.steps(), other.read_checkpoint_blocking(&params).unwrap().taken()), (3, 3));

    let sgd = AnyRule::named("sgd").unwrap();
    let mut other = start(gpu, &sgd, BINDABLE, &options);
    let refused = other.optimizer.load_what_fits(&state).unwrap_err().to_string();
    assert!(refused.contains("one of 'adam', not of this 'sgd'"), "{refused}");
    let mut other = start(gpu, &adam, BINDABLE, &everything());
    let refused = other.optimizer.load_state(&state).unwrap_err().to_string();
    assert!(refused.contains("wrappers"), "{refused}");
    let amsgrad = AnyRule::from_json(r#"{"optimizer": "adam", "amsgrad": "raw"}"#).unwrap();
    let mut other = start(gpu, &amsgrad, BINDABLE, &options);
    let refused = other.optimizer.load_state(&state).unwrap_err().to_string();
    assert!(refused.contains("amsgrad = "), "{refused}");
}

fn main() {
    gpu_main("resume", |adapter| {
        let mut trials = vec![trial(adapter, "misfits", misfits), trial(adapter, "snapshots", snapshots)];
        let own = adapter.clone();
        trials.push(trial_of_its_own(adapter, "another device", move |gpu| another_device(gpu, &own)));
        for entry in REGISTRY {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                for (name, options) in
                    [("alone", Options::default()), ("with everything around it", everything())]
                {
                    let config = config.clone();
                    let title = format!("{} variant {i} resumes, {name}", entry.name);
                    trials.push(trial(adapter, title, move |gpu| resumes(gpu, &config, &options)));
                }
                if i == 0 {
                    let (config, options) = (config.clone(), everything());
                    let title = format!("{} starts again", entry.name);
                    trials.push(trial(adapter, title, move |gpu| starts_again(gpu, &config, &options)));
                }
                if i == 0 && is_by_element(&config) {
                    let title = format!("{} resumes in another program", entry.name);
                    trials.push(trial(adapter, title, move |gpu| resumes_elsewhere(gpu, &config)));
                }
            }
        }
        trials
    });
}
