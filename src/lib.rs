//! Deep-learning optimizers for parameters that already live on the GPU.
//!
//! Every parameter group of a model, each with its own hyperparameters, is updated in **one compute
//! dispatch a step**, on any GPU that WebGPU reaches, from one plain WGSL file an optimizer. A scalar
//! CPU reference validates every result, within a tolerance that is computed from the equation.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod arithmetic;
#[cfg(feature = "wgpu")]
mod device;
mod error;
mod json;
pub mod program;
pub mod reference;
pub mod rule;
pub mod rules;
mod schedule;
mod wrappers;

#[cfg(feature = "wgpu")]
pub use device::{
    BufferRange, Download, GroupId, Optimizer, ParamSet, ParamSetBuilder, PreparedStep, TensorId, limits_of,
    required_features, required_limits,
};
pub use error::{Error, Refusal};
pub use program::{Options, Packing};
pub use rule::{AnyRule, WeightDecay};
pub use rules::{REGISTRY, Setup};
pub use schedule::{Curve, Schedule};
#[cfg(feature = "wgpu")]
pub use wgpu;
pub use wrappers::{Lookahead, LossScale, NonFinite, Wrappers};

/// The README's example, run as a doctest.
#[cfg(all(doctest, feature = "wgpu"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
