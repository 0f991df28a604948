//! Claim: a device that is lost in mid-run is an error of the next call, never a panic, never the host's
//! uncaptured error; what was read before stays valid and starts a run on another device.

mod common;

use common::run::{BINDABLE, Run, gradients, parameters};
use common::{Gpu, gpu_main, trial_of_its_own};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::wgpu::{self, Adapter};
use wgpu_optim::{AnyRule, Error, Optimizer, Options, ParamSet};

const LENS: [usize; 2] = [1000, 7];

fn main() {
    gpu_main("device_loss", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            let config = (entry.variants)().remove(1);
            let name = format!("{}: destroyed in mid-run", entry.name);
            let own = adapter.clone();
            trials.push(trial_of_its_own(adapter, name, move |gpu| destroyed(gpu, &own, &config)));
        }
        trials
    });
}

fn start<'a>(gpu: &'a Gpu, config: &AnyRule) -> Run<'a> {
    let tensors = LENS.map(|len| (len, 0));
    Run::new(gpu, std::slice::from_ref(config), &tensors, BINDABLE, &Options::default())
}

fn lost<T>(result: Result<T, Error>, what: &str) {
    match result {
        Err(Error::DeviceLost { .. }) => {}
        Err(other) => panic!("{what}: another error: {other}"),
        Ok(_) => panic!("{what}: no error"),
    }
}

fn destroyed(gpu: &Gpu, adapter: &Adapter, config: &AnyRule) {
    let uncaptured = Arc::new(Mutex::new(vec![]));
    let sink = uncaptured.clone();
    gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        sink.lock().unwrap().push(error.to_string());
    }));

    let mut run = start(gpu, config);
    run.write_theta(&parameters(11, &LENS));
    for step in 0..3 {
        run.step(&gradients(12, step, &LENS));
    }
    let read = run.read();
    let tensor = run.tensors[0];
    let slot = run.optimizer.slots().first().map(ToString::to_string);
    let mut recorded = gpu.encoder();
    let in_flight = run.params.download_param(&mut recorded, tensor).unwrap();
    gpu.submit(recorded);
    // Sendable, as executors want it.
    let in_flight: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(in_flight.read());
    let mut open = gpu.encoder();

    gpu.device.destroy();

    for _ in 0..2 {
        lost(run.optimizer.step(&mut open), "a step into an encoder from before");
        lost(run.optimizer.step(&mut gpu.encoder()), "a step into a new encoder");
        lost(run.optimizer.prepare(&mut gpu.encoder()), "a prepared step");
        assert_eq!(run.optimizer.steps(), 3, "a step that was not taken does not count");
        lost(run.params.read_param_blocking(&gpu.queue, tensor), "reading parameters");
        if let Some(slot) = &slot {
            lost(run.optimizer.read_slot_blocking(&gpu.queue, tensor, slot), "reading a slot");
        }
    }
    gpu.submit(open);
    // Submitted before, awaited after: its values or the error, but an answer.
    match pollster::block_on(in_flight) {
        Ok(values) => assert_eq!(bits(&values), bits(&read.theta[0])),
        Err(error) => lost(Err::<(), _>(error), "a download in flight"),
    }
    lost(Optimizer::new(&gpu.device, &gpu.queue, &run.params, [config.clone()]), "a new optimizer");
    let mut params = ParamSet::builder();
    let group = params.group("g");
    params.tensor("w", [8], group);
    lost(params.build(&gpu.device), "a new parameter set");
    assert_eq!(*uncaptured.lock().unwrap(), Vec::<String>::new(), "errors that reached the host's handler");

    let other = Gpu::open(adapter);
    let fresh = start(&other, config);
    fresh.write_theta(&read.theta);
    assert!(fresh.read().theta == read.theta, "a fresh optimizer goes on from the parameters that were read");
}

fn bits(words: &[f32]) -> Vec<u32> {
    words.iter().map(|x| x.to_bits()).collect()
}
