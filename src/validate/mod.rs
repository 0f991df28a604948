//! Holds what a device computes against the reference, word by word, and probes what the device does where WGSL leaves it a
//! choice. Feature `validate`.
//!
//! A [`Case`] is a rule, what stands around it, sizes of tensors and perhaps a poison among the gradients. A [`Trial`] says
//! what an executor is to run, and looks at every word before and after each step: it must lie in the interval that the
//! WGSL specification allows for the rule's equation, from exactly the words before. A [`Probe`] says how the device
//! divides, whether it contracts products and sums, what it does with NaN and subnormal numbers, and where writes behind
//! the end of a buffer go. Both know no device; on wgpu's, `check` and `probe` run them.
//!
//! ```no_run
//! # fn f(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), wgpu_optim::Error> {
//! use wgpu_optim::validate::{cases, check_blocking};
//! for case in cases().filter(|case| case.rule.name() == "adam") {
//!     let verdict = check_blocking(device, queue, &case)?;
//!     assert!(verdict.violation.is_none(), "{verdict:?}");
//! }
//! # Ok(()) }
//! ```

mod numbers;
#[cfg(feature = "wgpu")]
mod on_wgpu;
mod probes;
mod trial;

#[cfg(feature = "wgpu")]
pub use on_wgpu::{check, probe};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use on_wgpu::{check_blocking, probe_blocking};
pub use probes::{Probe, ProbeKernel};
pub use trial::Trial;

use crate::program::Shape;
use crate::rule::AnyRule;
use crate::rules::REGISTRY;
use crate::wrappers::{Lookahead, NonFinite, Wrappers};
use serde::Serialize;

/// The version of what [`Verdict`] and [`Probe`] are written as.
pub const VERSION: u32 = 2;

/// A number among the gradients of one step that equations do not expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Poison {
    /// None.
    None,
    /// NaN: takes its parameter's place.
    Nan,
    /// Infinity: takes its parameter's place.
    Infinity,
    /// The smallest subnormal number: may be flushed to zero.
    Subnormal,
    /// Minus zero.
    MinusZero,
    /// All gradients of the step are zero.
    AllZero,
}

impl Poison {
    /// All of them.
    pub const ALL: [Poison; 6] =
        [Poison::None, Poison::Nan, Poison::Infinity, Poison::Subnormal, Poison::MinusZero, Poison::AllZero];
}

/// What is run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// The rule; a second group has half its rate.
    pub rule: AnyRule,
    /// What stands around it.
    pub wrappers: Wrappers,
    /// Elements of the tensors, dealt to the two groups in turn.
    pub sizes: Vec<usize>,
    /// Steps.
    pub steps: u64,
    /// What stands among the gradients of the third step.
    pub poison: Poison,
    /// How elements are dealt to invocations; by default what the device wants.
    pub shape: Option<Shape>,
    /// WGSL in the place of the rule's own, to see that what is wrong is found.
    pub wgsl: Option<String>,
}

impl Case {
    /// Eight steps of a rule with nothing around it, over tensors of awkward sizes.
    pub fn new(rule: AnyRule) -> Self {
        let sizes = vec![1, 1500, 3, 0, 1024, 7, 9001];
        Self {
            rule,
            wrappers: Wrappers::default(),
            sizes,
            steps: 8,
            poison: Poison::None,
            shape: None,
            wgsl: None,
        }
    }
}

/// Every variant of every rule: with each poison, and with what may stand around it.
pub fn cases() -> impl Iterator<Item = Case> {
    let plain = Wrappers::default();
    let wrapped = [
        Wrappers {
            lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
            ema: Some(0.9),
            max_grad_norm: Some(100.0),
            max_tensor_norm: Some(50.0),
            max_grad_value: Some(1.0),
            ..plain
        },
        Wrappers {
            cautious: true,
            grad_accumulation_steps: Some(3),
            zero_grad: true,
            non_finite: NonFinite::Skip,
            max_tensor_norm: Some(10.0),
            ..plain
        },
    ];
    REGISTRY.iter().flat_map(|entry| (entry.variants)()).flat_map(move |rule| {
        let poisoned = rule.clone();
        let poisons =
            Poison::ALL.into_iter().map(move |poison| Case { poison, ..Case::new(poisoned.clone()) });
        poisons.chain(wrapped.into_iter().map(move |wrappers| Case { wrappers, ..Case::new(rule.clone()) }))
    })
}

/// A word that WGSL does not allow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// The step, 1 for the first.
    pub step: u64,
    /// Index of the tensor.
    pub tensor: usize,
    /// `theta`, or the slot.
    pub slot: String,
    /// Index of the element.
    pub element: usize,
    /// What the device has.
    pub got: String,
    /// What it may have, and the truth.
    pub expected: String,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The rule and its options.
    pub rule: serde_json::Value,
    /// Names of what stood around it.
    pub wrappers: Vec<&'static str>,
    /// What stood among the gradients.
    pub poison: Poison,
    /// The largest distance from the truth, as a share of the interval's width; at most 1 inside.
    pub worst: f64,
    /// Words that were compared.
    pub words: u64,
    /// The first word that is not allowed.
    pub violation: Option<Violation>,
}
