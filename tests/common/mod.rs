//! What every GPU test needs: the adapters, a device on each, and trials that are reported as ignored
//! where there is no adapter. `run.rs` has the one comparison that all of them use.
#![allow(dead_code)] // each test binary uses its share

#[path = "../../examples/support/adapter.rs"]
mod adapter;
pub mod run;

use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::{Mutex, PoisonError};
use wgpu_optim::program::{Declared, Limits, Options, Packing, Program, Tensors};
use wgpu_optim::rule::DynRule;
use wgpu_optim::{AnyRule, wgpu};

/// A device to test on.
pub struct Gpu {
    pub name: String,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Gpu {
    pub fn open(adapter: &wgpu::Adapter) -> Self {
        Self::open_with(adapter, wgpu_optim::required_limits(adapter))
    }

    pub fn open_with(adapter: &wgpu::Adapter, required_limits: wgpu::Limits) -> Self {
        let adapter = fresh(adapter);
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        // A browser only prints it; here it is a failure.
        #[cfg(target_arch = "wasm32")]
        device.on_uncaptured_error(std::sync::Arc::new(|error: wgpu::Error| panic!("uncaptured: {error}")));
        Self { name: describe(&adapter), device, queue }
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }
}

/// The adapter to open a device on.
#[cfg(not(target_arch = "wasm32"))]
fn fresh(adapter: &wgpu::Adapter) -> wgpu::Adapter {
    adapter.clone()
}

/// In a browser an adapter gives one device in its life, so another one is asked for.
#[cfg(target_arch = "wasm32")]
fn fresh(_: &wgpu::Adapter) -> wgpu::Adapter {
    adapter::candidates("").unwrap().remove(0)
}

/// `llvmpipe [Vulkan]`
pub fn describe(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    format!("{} [{:?}]", info.name.split(" (").next().unwrap_or_default(), info.backend)
}

/// Every adapter that can run compute shaders and gives a device. `WGPU_OPTIM_ADAPTER=text` keeps those whose name
/// or backend contains the text.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let wanted = std::env::var("WGPU_OPTIM_ADAPTER").unwrap_or_default();
    let opened = adapter::all(&wanted).map_err(|error| eprintln!("{error}")).unwrap_or_default();
    opened.into_iter().map(|opened| opened.adapter).collect()
}

/// Runs the trials that `trials` makes for each adapter. Without any adapter they are reported as
/// ignored, or as failed where `REQUIRE_GPU=1` says that there must be one.
pub fn gpu_main(claims: &str, trials: impl Fn(&wgpu::Adapter) -> Vec<Trial>) {
    let arguments = Arguments::from_args();
    let adapters = adapters();
    let mut all: Vec<Trial> = adapters.iter().flat_map(&trials).collect();
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1");
        let missing = || Err(Failed::from("no adapter: run `make setup`, or see README.md"));
        all.push(Trial::test(format!("{claims} (no adapter)"), missing).with_ignored_flag(!required));
    } else {
        assert!(!all.is_empty(), "{claims}: adapters, but no trials");
    }
    finish(&libtest_mimic::run(&arguments, all));
}

/// A page goes on.
#[cfg(target_arch = "wasm32")]
pub fn finish(_: &libtest_mimic::Conclusion) {}

/// Ends the process with the trials' result.
#[cfg(not(target_arch = "wasm32"))]
pub fn finish(conclusion: &libtest_mimic::Conclusion) -> ! {
    let code = if conclusion.has_failed() { 101 } else { 0 };
    let _ = std::io::Write::flush(&mut std::io::stdout());
    // Mesa 22.3 now and then frees twice in its exit handlers: one process in some hundred ends with an abort
    // after every trial has passed.
    // SAFETY: nothing of ours waits for exit handlers; all output is flushed.
    #[cfg(unix)]
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// A trial on `adapter`, on a device that it may share with those before and after it.
pub fn trial(
    adapter: &wgpu::Adapter,
    name: impl Into<String>,
    test: impl FnOnce(&Gpu) + Send + 'static,
) -> Trial {
    let adapter = adapter.clone();
    let name = format!("{} on {}", name.into(), describe(&adapter));
    Trial::test(name, move || {
        with_device(&adapter, test);
        Ok(())
    })
}

/// A trial on `adapter` that opens a device of its own: to destroy it, or to count what is made on it.
pub fn trial_of_its_own(
    adapter: &wgpu::Adapter,
    name: impl Into<String>,
    test: impl FnOnce(&Gpu) + Send + 'static,
) -> Trial {
    let adapter = adapter.clone();
    let name = format!("{} on {}", name.into(), describe(&adapter));
    Trial::test(name, move || {
        let _turn = turn(&adapter);
        test(&Gpu::open(&adapter));
        Ok(())
    })
}

/// All devices of a GL adapter share one context, whose lock wgpu gives up on after a second.
fn turn(adapter: &wgpu::Adapter) -> Option<std::sync::MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let gl = adapter.get_info().backend == wgpu::Backend::Gl;
    gl.then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs `test` on a device that no other trial uses meanwhile: one that a trial before gave back, or a new one. Opening
/// one takes longer than most trials. The device of a trial that panics is not given back.
pub fn with_device(adapter: &wgpu::Adapter, test: impl FnOnce(&Gpu)) {
    static IDLE: Mutex<Vec<Gpu>> = Mutex::new(vec![]);
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let _turn = turn(adapter);
    let name = describe(adapter);
    let given_back = {
        let mut idle = idle();
        idle.iter().position(|gpu| gpu.name == name).map(|index| idle.swap_remove(index))
    };
    let gpu = given_back.unwrap_or_else(|| Gpu::open(adapter));
    test(&gpu);
    idle().push(gpu);
}

/// Lets so many turns of the event loop pass, where there is one.
pub fn turns(mut left: u32) {
    pollster::block_on(std::future::poll_fn(|context| {
        left -= 1;
        context.waker().wake_by_ref();
        if left > 0 { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    }));
}

/// Whether a rule is tried here: all of them natively; where each trial takes long, in a page, one of each kind.
pub fn is_tried(rule: &str) -> bool {
    !cfg!(target_arch = "wasm32") || ["sgd", "adam", "radam", "lamb", "adashift", "lion"].contains(&rule)
}

/// The program of one matrix in one group, with nothing around the rule.
pub fn program(config: &AnyRule) -> Program {
    let matrix = Declared { name: "matrix".into(), shape: vec![8, 8], group: 0, own: None };
    let limits = Limits::default();
    let tensors = Tensors::lay_out(&["all"], &[matrix], &[], Packing::default(), &limits).unwrap();
    Program::new(&tensors, std::slice::from_ref(config), &Options::default(), &limits).unwrap()
}

/// Dispatches of a step over vectors with one window and nothing around the rule: a reduction takes one to reduce and one
/// to combine, device scalars take one.
pub fn dispatches(rule: &dyn DynRule) -> usize {
    let spec = rule.spec();
    let reduces = rule.reduces() && spec.results().next().is_some();
    let device = spec.device_scalars().next().is_some();
    1 + 2 * usize::from(reduces) + usize::from(device)
}
