//! Deep-learning optimizers for parameters that already live on the GPU.
//!
//! Every parameter group of a model, each with its own hyperparameters, is updated in **one compute
//! dispatch a step**, on any GPU that WebGPU reaches, from one plain WGSL file an optimizer. A scalar
//! CPU reference validates every result, within a tolerance that is computed from the equation.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod any_rule;
mod build;
mod clock;
mod count;
mod cpu;
mod decay;
mod error;
mod interval;
mod json;
mod layout;
mod limits;
mod lines;
mod optimizer;
pub mod optimizers;
mod params;
pub mod plan;
mod readback;
mod real;
pub mod reference;
mod rule;
mod schedule;
mod scope;
pub mod shader;
mod wrappers;

pub use any_rule::{AnyRule, Config};
pub use cpu::{Found, Step};
pub use decay::WeightDecay;
pub use error::{Error, Refusal};
pub use interval::Interval;
pub use limits::{required_features, required_limits};
pub use optimizer::{Optimizer, Options, PreparedStep};
pub use optimizers::{REGISTRY, Setup, names};
pub use params::{BufferRange, GroupId, Packing, ParamSet, ParamSetBuilder, Tensor, TensorId};
pub use readback::Download;
pub use real::Real;
pub use reference::Reference;
pub use rule::{
    Field, FieldKind, Lanes, Limit, MAX_CARRIED, Memory, Method, Mutant, Row, Rule, Scope, SlotKind, Visit,
    beta_power,
};
pub use schedule::{Curve, Schedule};
pub use wgpu;
pub use wrappers::{Lookahead, LossScale, NonFinite, Now, WRAPPER_SLOTS, Wrappers};

/// The README's example, run as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
