//! Deep-learning optimizers for parameters that already live on the GPU.
//!
//! Every parameter group of a model, each with its own hyperparameters, is updated in **one compute
//! dispatch a step**, on any GPU that WebGPU reaches, from one plain WGSL file an optimizer. A scalar
//! CPU reference validates every result, within a tolerance that is computed from the equation.
//!
//! - **In a Rust application on wgpu**: declare tensors in a [`ParamSet`], make an [`Optimizer`] of one of the [`rules`],
//!   and record [`Optimizer::step`] into your encoder. `examples/embed.rs` is a whole engine.
//! - **In a browser, or on another API**: a step is data, a [`program::Program`], with a [`program::Clock`] that gives the
//!   bytes of each step. Both need no wgpu (`default-features = false`).
//! - **To compare adapters**: `make bench` measures every step in turns with a copy and with a hand-written kernel, and
//!   the [`reference`](mod@reference) says what a GPU may return.
//!
//! ```no_run
//! # #[cfg(feature = "wgpu")] mod example {
//! use wgpu_optim::{Error, Optimizer, ParamSet, rules::Adam, wgpu};
//!
//! fn train(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
//!     let mut params = ParamSet::builder();
//!     let (decay, no_decay) = (params.group("weights"), params.group("biases"));
//!     let weight = params.tensor("fc.weight", [784, 10], decay);
//!     params.tensor("fc.bias", [10], no_decay);
//!     let params = params.build(device)?;
//!     let adamw = Adam { lr: 1e-3, ..Adam::adamw() };
//!     let plain = Adam { weight_decay: 0.0, ..adamw.clone() };
//!     let mut optimizer = Optimizer::new(device, queue, &params, [adamw, plain])?;
//!
//!     let mut encoder = device.create_command_encoder(&Default::default());
//!     let _gradients = params.grad(weight)?; // where the backward pass writes
//!     optimizer.step(&mut encoder)?; // one dispatch for all tensors of both groups
//!     queue.submit([encoder.finish()]);
//!     Ok(())
//! }
//! # }
//! ```
//!
//! A rule of your own goes through the same door as ours: [`rule::Rule`], `examples/custom_rule.rs`.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod arithmetic;
mod description;
#[cfg(feature = "wgpu")]
mod device;
mod error;
#[cfg(feature = "export")]
pub mod export;
mod json;
pub mod program;
#[cfg(any(feature = "reference", test))]
pub mod reference;
pub mod rule;
pub mod rules;
mod schedule;
pub mod state;
#[cfg(feature = "validate")]
pub mod validate;
mod wrappers;

pub use description::Description;
#[cfg(feature = "wgpu")]
pub use device::{
    BufferRange, Changes, Download, GroupId, Optimizer, ParamSet, ParamSetBuilder, PreparedPart,
    PreparedStep, Snapshots, StateDownload, TensorId, required_features, required_limits,
};
pub use error::{Error, Refusal};
pub use program::{Options, Packing};
pub use rule::AnyRule;
pub use schedule::{Curve, Schedule};
pub use state::{OptimizerState, Restored};
#[cfg(feature = "wgpu")]
pub use wgpu;
pub use wrappers::{Lookahead, LossScale, NonFinite, Wrappers};

/// The version of this library, as reports name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The README's example, run as a doctest.
#[cfg(all(doctest, feature = "wgpu"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
