//! Claims: burn's parameters take our steps where they are, the same up to rounding as burn's own optimizers; whatever does
//! not fit is refused, and the module comes back as it was.

#[path = "../examples/support/copy.rs"]
mod copy;

use burn::module::{Module, Param, ParamId};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData, activation::relu};
use burn_wgpu::WgpuSetup;
use copy::copied;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use wgpu_optim_burn::rules::{Adafactor, Adam, Lamb, Sgd};
use wgpu_optim_burn::{Error, Optimizer, Options, Parameter};

/// A network of three layers, of which the last is used the other way round and one may be left out.
#[derive(Module, Debug)]
struct Network {
    first: Layer,
    second: Layer,
    last: Param<Tensor<2>>,
    frozen: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Layer {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self { weight: parameter([inputs, outputs], device), bias: parameter([outputs], device) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

fn parameter<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::random(shape, Distribution::Uniform(-0.3, 0.3), device))
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            first: Layer::new(19, 33, device),
            second: Layer::new(33, 7, device),
            last: parameter([3, 7], device),
            frozen: parameter([5], device).set_require_grad(false),
        }
    }

    /// A loss of some inputs, with or without the second layer.
    fn loss(&self, x: Tensor<2>, skips: bool) -> Tensor<1> {
        let x = relu(self.first.forward(x));
        let x = if skips { x.narrow(1, 0, 7) } else { relu(self.second.forward(x)) };
        let wanted: Tensor<1> = Tensor::full([1], 0.3, &x.device());
        // The gradient of the last layer lies the other way round in memory.
        (x.matmul(self.last.val().transpose()) - wanted.unsqueeze()).powf_scalar(2.0).mean()
    }

    fn values(&self) -> Vec<Vec<f32>> {
        let of = |data: TensorData| data.try_to_vec::<f32>().unwrap();
        vec![
            of(self.first.weight.val().into_data()),
            of(self.first.bias.val().into_data()),
            of(self.second.weight.val().into_data()),
            of(self.second.bias.val().into_data()),
            of(self.last.val().into_data()),
            of(self.frozen.val().into_data()),
        ]
    }
}

/// burn's device is one for the process, and its random numbers too: one test at a time.
fn device() -> (MutexGuard<'static, ()>, Device, &'static WgpuSetup) {
    static DEVICE: OnceLock<(Device, WgpuSetup)> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (device, setup) = DEVICE.get_or_init(|| Device::wgpu_options().init_with_setup().unwrap());
    device.seed(7);
    (turn, device.clone().autodiff(), setup)
}

fn inputs(step: u64, device: &Device) -> Tensor<2> {
    let value = |i: u64| ((i * 7919 + step * 104_729) % 1000) as f32 / 500.0 - 1.0;
    let values: Vec<f32> = (0..4 * 19).map(value).collect();
    Tensor::from_data(TensorData::new(values, [4, 19]), device)
}

fn gradients(network: &Network, step: u64, device: &Device, skips: bool) -> GradientsParams {
    GradientsParams::from_grads(network.loss(inputs(step, device), skips).backward(), network)
}

/// The largest distance, over the largest way that a parameter went.
fn distance(a: &Network, b: &Network, start: &[Vec<f32>]) -> f32 {
    let (a, b) = (a.values(), b.values());
    let largest = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        let both = a[..5].iter().flatten().zip(b[..5].iter().flatten());
        both.map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max)
    };
    let moved = largest(&a, start);
    assert!(moved > 1e-3, "parameters move: {moved}");
    largest(&a, &b) / moved
}

fn same_as_burn(
    mut theirs: ModuleOptimizer,
    lr: f64,
    ours: impl Fn(&Network, &WgpuSetup) -> Optimizer,
) -> f32 {
    let (_turn, device, setup) = device();
    let mut a = Network::new(&device);
    let mut b = copied(&a);
    let start = a.values();
    let mut ours = ours(&b, setup);
    for step in 0..20 {
        let of_a = gradients(&a, step, &device, false);
        a = theirs.step(lr, a, of_a);
        let of_b = gradients(&b, step, &device, false);
        b = ours.step(b, of_b).unwrap();
    }
    distance(&a, &b, &start)
}

#[test]
fn adam_is_burns_adam() {
    let distance = same_as_burn(AdamConfig::new().with_epsilon(1e-8).init(), 1e-3, |network, setup| {
        Optimizer::builder(setup).build(network, Adam { eps: 1e-8, ..Adam::default() }).unwrap()
    });
    assert!(distance < 1e-3, "{distance}");
}

#[test]
fn adamw_is_burns_adamw() {
    let theirs = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.05).init();
    let distance = same_as_burn(theirs, 1e-3, |network, setup| {
        let rule = Adam { eps: 1e-8, weight_decay: 0.05, ..Adam::adamw() };
        Optimizer::builder(setup).build(network, rule).unwrap()
    });
    assert!(distance < 1e-3, "{distance}");
}

#[test]
fn sgd_is_burns_sgd() {
    let distance = same_as_burn(SgdConfig::new().init(), 0.05, |network, setup| {
        Optimizer::builder(setup).build(network, Sgd { lr: 0.05, ..Sgd::default() }).unwrap()
    });
    assert!(distance < 1e-4, "{distance}");
}

#[test]
fn groups_are_by_pattern_and_by_condition() {
    let (_turn, device, setup) = device();
    let network = Network::new(&device);
    let seen = |p: &Parameter| p.shape.len() == 2 && p.name.starts_with("second");
    let still = Sgd { lr: 0.0, ..Sgd::default() };
    let mut optimizer = Optimizer::builder(setup)
        .group("*.bias", still.clone())
        .group_where("second's matrix", seen, still.clone())
        .group("nothing is called so", still)
        .build(&network, Sgd { lr: 0.1, ..Sgd::default() })
        .unwrap();
    assert_eq!(optimizer.groups().collect::<Vec<_>>(), ["*.bias", "second's matrix", "all others"]);
    let names: Vec<String> = optimizer.parameters().map(|parameter| parameter.name).collect();
    assert_eq!(names, ["first.weight", "first.bias", "second.weight", "second.bias", "last"]);
    let before = network.values();
    let given = gradients(&network, 0, &device, false);
    let network = optimizer.step(network, given).unwrap();
    let moved = |after: Vec<Vec<f32>>| after.iter().zip(&before).map(|(a, b)| a != b).collect::<Vec<_>>();
    assert_eq!(moved(network.values()), [true, false, false, false, true, false]);
    optimizer.set_lr(0.0).unwrap();
    let before = network.values();
    let given = gradients(&network, 1, &device, false);
    let network = optimizer.step(network, given).unwrap();
    assert!(network.values() == before);
    assert!(optimizer.group_mut("*.bias").is_some() && optimizer.group_mut("?").is_none());
}

#[test]
fn parameters_without_a_gradient_rest() {
    let (_turn, device, setup) = device();
    let mut network = Network::new(&device);
    let decays = || Adam { weight_decay: 0.1, ..Adam::adamw() };
    let mut optimizer = Optimizer::builder(setup).build(&network, decays()).unwrap();
    for step in 0..3 {
        let given = gradients(&network, step, &device, false);
        network = optimizer.step(network, given).unwrap();
    }
    let before = network.values();
    let given = gradients(&network, 3, &device, true);
    network = optimizer.step(network, given).unwrap();
    let after = network.values();
    let moved: Vec<bool> = after.iter().zip(&before).map(|(a, b)| a != b).collect();
    assert_eq!(moved, [true, true, false, false, true, false], "neither momentum nor decay moves what rests");
    // Where they cannot rest, they are named.
    let mut optimizer =
        Optimizer::builder(setup).options(Options::default()).build(&network, decays()).unwrap();
    let given = gradients(&network, 4, &device, true);
    let refused = optimizer.step(network, given).unwrap_err();
    assert!(matches!(&refused.error, Error::NoGradient { parameter } if parameter == "second.weight"));
    assert!(refused.module.values() == after);
    // A rule whose parameters count together has no choice.
    let network = refused.module;
    let mut optimizer = Optimizer::builder(setup).build(&network, Adafactor::default()).unwrap();
    let given = gradients(&network, 4, &device, true);
    assert!(matches!(optimizer.step(network, given).unwrap_err().error, Error::NoGradient { .. }));
}

fn expect(error: &Error, text: &str) {
    assert!(error.to_string().contains(text), "'{error}' has no '{text}'");
}

#[test]
fn what_does_not_fit_is_refused_and_comes_back() {
    let (_turn, device, setup) = device();
    let network = Network::new(&device);
    let mut optimizer = Optimizer::builder(setup).build(&network, Adam::adamw()).unwrap();
    let before = network.values();

    // A clone would see the step.
    let clone = network.clone();
    let given = gradients(&network, 0, &device, false);
    let refused = optimizer.step(network, given).unwrap_err();
    expect(&refused.error, "'first.weight' is shared with a clone");
    assert!(refused.module.values() == before && clone.values() == before);
    drop(clone);
    let given = gradients(&refused.module, 0, &device, false);
    let mut network = optimizer.step(refused.module, given).unwrap();
    let before = network.values();
    assert!(optimizer.inner().steps() == 1);

    // Another tensor in the place of one, of the same shape and of another.
    let (id, zeros) = (network.second.bias.id, |len| Tensor::<1>::zeros([len], &device).require_grad());
    // Which is kept, so that the other has memory of its own.
    let _old = network.second.bias.val();
    network.second.bias = Param::initialized(id, zeros(7));
    let given = gradients(&network, 1, &device, false);
    let refused = optimizer.step(network, given).unwrap_err();
    expect(&refused.error, "'second.bias' was replaced");
    let mut network = refused.module;
    network.second.bias = Param::initialized(id, zeros(1));
    let given = gradients(&network, 1, &device, false);
    let refused = optimizer.step(network, given).unwrap_err();
    expect(&refused.error, "'second.bias' has shape [1]; the optimizer was made for [7]");

    // One that nobody knows, and so one that is not there.
    let mut network = refused.module;
    network.second.bias = parameter([7], &device);
    let given = gradients(&network, 1, &device, false);
    let refused = optimizer.step(network, given).unwrap_err();
    expect(&refused.error, "'second.bias' was not there");
    let mut network = refused.module;
    network.second.bias = parameter([7], &device).set_require_grad(false);
    let given = gradients(&network, 1, &device, false);
    let refused = optimizer.step(network, given).unwrap_err();
    expect(&refused.error, "'second.bias' is not in the module any more");
    let after = refused.module.values();
    assert!(after[0] == before[0] && after[4] == before[4], "nothing was changed");
}

#[derive(Module, Debug)]
struct Two {
    a: Param<Tensor<1>>,
    b: Param<Tensor<1>>,
}

#[test]
fn what_cannot_be_built_is_refused() {
    let (_turn, device, setup) = device();
    let one: Param<Tensor<1>> = parameter([4], &device);
    let twice = Two { a: one.clone(), b: one };
    expect(&Optimizer::builder(setup).build(&twice, Adam::adamw()).unwrap_err(), "'b' is shared");
    let frozen = Two { a: parameter([4], &device), b: parameter([4], &device) }.no_grad();
    expect(&Optimizer::builder(setup).build(&frozen, Adam::adamw()).unwrap_err(), "no parameter");
    let half = Tensor::<1>::zeros([4], &device).cast(DType::F16).require_grad();
    let half = Two { a: parameter([4], &device), b: Param::initialized(ParamId::new(), half) };
    expect(&Optimizer::builder(setup).build(&half, Adam::adamw()).unwrap_err(), "'b' is of F16");
    // A module on a CPU, and one whose second parameter is there.
    let cpu = Device::flex().autodiff();
    let elsewhere = Optimizer::builder(setup).build(&Network::new(&cpu), Adam::adamw()).unwrap_err();
    assert!(matches!(elsewhere, Error::Device { .. }), "{elsewhere}");
    let apart = Two { a: parameter([4], &device), b: parameter([4], &cpu) };
    expect(
        &Optimizer::builder(setup).build(&apart, Adam::adamw()).unwrap_err(),
        "'b' is not on the wgpu device",
    );
    let mut options = Options::default();
    options.wrappers.ema = Some(2.0);
    let network = Network::new(&device);
    let refused = Optimizer::builder(setup).options(options).build(&network, Adam::adamw()).unwrap_err();
    expect(&refused, "ema");
}

#[test]
fn a_state_goes_on_in_another_optimizer() {
    let (_turn, device, setup) = device();
    let mut options = Options::default();
    options.own_steps = true;
    options.wrappers.max_grad_norm = Some(0.5);
    let make = |network: &Network| {
        Optimizer::builder(setup).options(options.clone()).build(network, Lamb::default()).unwrap()
    };
    let run = |mut network: Network, optimizer: &mut Optimizer, steps: std::ops::Range<u64>| {
        for step in steps {
            let given = gradients(&network, step, &device, step == 2);
            network = optimizer.step(network, given).unwrap();
        }
        network
    };
    let network = Network::new(&device);
    let mut optimizer = make(&network);
    let network = run(network, &mut optimizer, 0..4);
    let (state, half) = (optimizer.state().unwrap(), copied(&network));
    let whole = run(network, &mut optimizer, 4..8);
    let mut other = make(&half);
    other.load_state(&state).unwrap();
    let resumed = run(half, &mut other, 4..8);
    assert!(whole.values()[..5] == resumed.values()[..5], "the run went on with other bits");
    let adam = Optimizer::builder(setup).build(&resumed, Adam::adamw()).unwrap();
    assert!(other.load_state(&adam.state().unwrap()).is_err());
}

/// Through a file, parameters included.
#[cfg(feature = "checkpoint")]
#[test]
fn a_file_goes_on_in_another_module() {
    let (_turn, device, setup) = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let network = Network::new(&device);
    let mut optimizer = Optimizer::builder(setup).build(&network, Adam::adamw()).unwrap();
    let given = gradients(&network, 0, &device, false);
    let network = optimizer.step(network, given).unwrap();
    optimizer.save(&path).unwrap();
    let other = Network::new(&device);
    let mut resumed = Optimizer::builder(setup).build(&other, Adam::adamw()).unwrap();
    resumed.load(&path, true).unwrap();
    let (a, b) = (gradients(&network, 1, &device, false), gradients(&other, 1, &device, false));
    let (network, other) = (optimizer.step(network, a).unwrap(), resumed.step(other, b).unwrap());
    assert!(network.values()[..5] == other.values()[..5]);
}

#[derive(Module, Debug)]
struct Many {
    tensors: Vec<Param<Tensor<1>>>,
}

/// One dispatch for each of burn's pages, however many tensors there are.
#[test]
fn many_tensors_take_few_dispatches() {
    let (_turn, device, setup) = device();
    let mut many = Many { tensors: (0..148).map(|i| parameter([100 + i], &device)).collect() };
    let mut optimizer = Optimizer::builder(setup).build(&many, Sgd { lr: 1.0, ..Sgd::default() }).unwrap();
    let dispatches = optimizer.inner().dispatches_per_step();
    assert!(dispatches <= 4, "{dispatches}");
    let sum = |many: &Many| many.tensors.iter().map(|t| t.val().sum()).reduce(|a, b| a + b).unwrap();
    let before: f32 = sum(&many).into_scalar();
    let given = GradientsParams::from_grads(sum(&many).backward(), &many);
    many = optimizer.step(many, given).unwrap();
    let after: f32 = sum(&many).into_scalar();
    let elements: usize = (0..148).map(|i| 100 + i).sum();
    assert!((before - after - elements as f32).abs() < 1.0, "{before} - {after} is {elements}");
}
