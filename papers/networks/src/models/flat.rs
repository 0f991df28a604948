//! A network as a row of numbers: its parameters and gradients, in its own order.

use super::Network;
use anyhow::{Result, anyhow, ensure};
use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use std::sync::Mutex;

/// burn has one source of random numbers for all threads.
static SEEDED: Mutex<()> = Mutex::new(());

/// A new network with the first parameters of this seed.
pub fn seeded<N: Network>(seed: u64, device: &Device, new: impl FnOnce(&Device) -> N) -> Result<N> {
    let _alone = SEEDED.lock().map_err(|_| anyhow!("a thread that made a network died"))?;
    device.seed(seed);
    let network = new(device);
    // Parameters are made when somebody asks for them.
    parameters(&network)?;
    Ok(network)
}

/// Shape of each parameter, with its name.
pub fn shapes<N: Network>(network: &N) -> Vec<(String, Vec<usize>)> {
    struct Shapes(Vec<String>, Vec<(String, Vec<usize>)>);
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.shape().to_vec()));
        }
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
    }
    let mut shapes = Shapes(vec![], vec![]);
    network.visit(&mut shapes);
    shapes.1
}

/// The values of each parameter.
pub fn parameters<N: Network>(network: &N) -> Result<Vec<Vec<f32>>> {
    collect(network, None)
}

/// The gradient of each parameter.
pub fn gradients<N: Network>(network: &N, gradients: &Gradients) -> Result<Vec<Vec<f32>>> {
    collect(network, Some(gradients))
}

struct Collect<'a> {
    gradients: Option<&'a Gradients>,
    values: Vec<Vec<f32>>,
    error: Option<String>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.gradients {
            None => Some(param.val().inner()),
            Some(gradients) => param.val().grad(gradients),
        };
        let values = tensor.map(|tensor| tensor.into_data().try_into_vec::<f32>());
        match values {
            Some(Ok(values)) => self.values.push(values),
            Some(Err(error)) => self.error = Some(format!("{error:?}")),
            None => self.values.push(vec![0.0; param.shape().num_elements()]),
        }
    }
}

fn collect<N: Network>(network: &N, gradients: Option<&Gradients>) -> Result<Vec<Vec<f32>>> {
    let mut collect = Collect { gradients, values: vec![], error: None };
    network.visit(&mut collect);
    match collect.error {
        None => Ok(collect.values),
        Some(error) => Err(anyhow!("burn: {error}")),
    }
}

/// The network with these parameters.
pub fn with<N: Network>(network: N, values: &[&[f32]]) -> Result<N> {
    struct Fill<'a>(std::slice::Iter<'a, &'a [f32]>, bool);
    impl ModuleMapper for Fill<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (device, shape) = (param.device(), param.shape());
            match self.0.next().filter(|values| values.len() == shape.num_elements()) {
                None => {
                    self.1 = false;
                    param
                }
                Some(values) => param.map(|_| {
                    Tensor::from_data(TensorData::new(values.to_vec(), shape.clone()), &device).require_grad()
                }),
            }
        }
    }
    let mut fill = Fill(values.iter(), true);
    let network = network.map(&mut fill);
    ensure!(fill.1 && fill.0.next().is_none(), "the network has other parameters");
    Ok(network)
}
