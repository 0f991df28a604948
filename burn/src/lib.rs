//! [wgpu-optim](https://docs.rs/wgpu-optim)'s optimizers under a [burn](https://burn.dev) module on wgpu: all parameters in one
//! dispatch a step, where burn has them.
//!
//! ```no_run
//! use burn::module::Module;
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use wgpu_optim_burn::{Optimizer, rules::Adam};
//! # fn f<M: Module>(model: M, loss: impl Fn(&M) -> Tensor<1>) -> Result<(), Box<dyn std::error::Error>> where M: 'static {
//! let (device, setup) = Device::wgpu_options().init_with_setup()?;
//! let device = device.autodiff(); // on which the model is
//! let mut model = model;
//! let mut optimizer = Optimizer::builder(&setup)
//!     .group_where("biases and norms", |p| p.shape.len() < 2, Adam { weight_decay: 0.0, ..Adam::adamw() })
//!     .build(&model, Adam::adamw())?;
//! for _ in 0..100 {
//!     let gradients = GradientsParams::from_grads(loss(&model).backward(), &model);
//!     model = optimizer.step(model, gradients).map_err(|refused| refused.error)?;
//! }
//! # let _ = device; Ok(()) }
//! ```
//!
//! # What happens in a step
//!
//! burn's gradients are new tensors in each step, wherever its memory has room. They are copied on the device into a buffer of the
//! optimizer's, which costs two of nine words that AdamW moves, and then one dispatch (one for each of burn's memory pages that
//! hold parameters) updates the parameters in place. Nothing goes through the host, and nobody waits for the device.
//!
//! burn's tensors are values: who has a clone of one does not expect it to change. A step in place would change all of them, so a
//! parameter that has clones is refused, as [`Error::Shared`].
//!
//! # What would need a change in burn
//!
//! The copies, if backward passes could write into memory that the caller gives; and the host's time for each gradient, if burn's
//! runtime said of many tensors at once in which buffers they are (`get_resource` does of one). burn's `Learner` and its
//! `ModuleOptimizer` call an optimizer once for each tensor; a step of all tensors at once does not fit into these traits, so
//! this is used in training loops that are written out.

mod error;
#[cfg(feature = "fusion")]
mod fused;
mod groups;
mod memory;
mod module;
mod optimizer;

pub use error::{Error, Refused};
pub use groups::Parameter;
pub use optimizer::{Builder, Optimizer};
pub use wgpu_optim::{AnyRule, OptimizerState, Options, Schedule, Wrappers, rules};
