//! What the bridge answers where it cannot take a step.

use std::fmt;

/// What is wrong, with the name of the parameter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a parameter of burn's wgpu backend.
    #[error("parameter '{parameter}' is not on the wgpu device of this optimizer: {reason}")]
    Device {
        /// Its path in the module.
        parameter: String,
        /// What burn says.
        reason: String,
    },
    /// Only f32 is updated.
    #[error("parameter '{parameter}' is of {dtype}; only F32 is updated")]
    Type {
        /// Its path in the module.
        parameter: String,
        /// Its type.
        dtype: String,
    },
    /// A parameter's elements do not lie one behind the other.
    #[error("parameter '{parameter}' has strides {strides:?} for shape {shape:?}; make it contiguous first")]
    Layout {
        /// Its path in the module.
        parameter: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its strides.
        strides: Vec<usize>,
    },
    /// Somebody else has the same memory, who would see it change: a clone of the module, or a module that uses one
    /// parameter twice.
    #[error(
        "parameter '{parameter}' is shared with a clone of it, which a step in place would change too; drop the clone, or `fork` it"
    )]
    Shared {
        /// Its path in the module.
        parameter: String,
    },
    /// The memory is not that which the optimizer was made with.
    #[error(
        "parameter '{parameter}' was replaced since the optimizer was made; make it anew, and load the state"
    )]
    Replaced {
        /// Its path in the module.
        parameter: String,
    },
    /// The shape is not that which the optimizer was made with.
    #[error("parameter '{parameter}' has shape {got:?}; the optimizer was made for {expected:?}")]
    Shape {
        /// Its path in the module.
        parameter: String,
        /// The shape that the optimizer knows.
        expected: Vec<usize>,
        /// The shape that was given.
        got: Vec<usize>,
    },
    /// A parameter that the optimizer does not know.
    #[error("parameter '{parameter}' was not there when the optimizer was made")]
    Added {
        /// Its path in the module.
        parameter: String,
    },
    /// A parameter that is not in the module any more.
    #[error("parameter '{parameter}' is not in the module any more")]
    Removed {
        /// Its path in the module.
        parameter: String,
    },
    /// There is no gradient, and the rule cannot leave a parameter out.
    #[error(
        "parameter '{parameter}' has no gradient, and this optimizer was made without `own_steps`, so that it cannot be left out"
    )]
    NoGradient {
        /// Its path in the module.
        parameter: String,
    },
    /// There is nothing to train.
    #[error("the module has no parameter that requires a gradient")]
    Nothing,
    /// burn's runtime.
    #[error("burn: {0}")]
    Runtime(String),
    /// The optimizer.
    #[error(transparent)]
    Optimizer(#[from] wgpu_optim::Error),
}

/// A step that was not taken, with the module as it was.
pub struct Refused<M> {
    /// The module, of which nothing has changed.
    pub module: M,
    /// Why.
    pub error: Error,
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<M> fmt::Display for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<M> std::error::Error for Refused<M> {}

impl<M> From<Refused<M>> for Error {
    fn from(refused: Refused<M>) -> Self {
        refused.error
    }
}
