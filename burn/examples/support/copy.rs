//! A module whose parameters have memory of their own: a step in place changes no other.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

struct Copy;

impl ModuleMapper for Copy {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let device = param.device();
        param.map(|tensor| {
            let trains = tensor.is_require_grad();
            Tensor::from_data(tensor.into_data(), &device).set_require_grad(trains)
        })
    }
}

/// The same values in memory of their own.
pub fn copied<M: Module>(module: &M) -> M {
    module.clone().map(&mut Copy)
}
