//! What a rule is: a configuration, its slots, its update equation in WGSL and in Rust.
//!
//! A rule implements [`Rule`]: constants and functions of its own types. Everything else in the library reads its
//! [`Spec`], a table of what the rule is with its [`Equation`] in three arithmetics, and asks a configuration through
//! [`DynRule`], which hides its type. Where the rule is chosen at run time, [`AnyRule`] holds the configuration.
//!
//! `examples/custom_rule.rs` is a whole rule outside this crate.

mod chosen;
mod decay;
mod equation;
#[cfg(any(feature = "reference", test))]
mod functions;
mod range;
mod spec;

pub use crate::arithmetic::Real;
pub use chosen::{AnyRule, Config, DynRule};
pub(crate) use chosen::{check_host_scalars, depths_of, initial_of};
pub use decay::WeightDecay;
pub use equation::{HostScalars, Slots};
#[cfg(any(feature = "reference", test))]
pub use functions::{Equation, Scalars, SlotSlices};
pub use range::{Number, NumberField, Range};
pub use spec::{Field, FieldKind, MAX_DEVICE_SCALARS, MAX_RESULTS, Mutant, Scope, Slot, SlotKind, Spec};
pub(crate) use spec::{MAX_FIELDS, MAX_SLOTS};

use crate::error::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Debug;

/// What one group's rule keeps on the host from step to step, for host scalars that are
/// recurrences (LaProp's sum of rates, NAdam's product of momenta). Starts as zeros.
pub type HostState = [f64; 4];

/// `beta^t` in f64, for bias corrections: by repeated squaring, several times faster than `powf`. Its
/// relative error of up to `t 2^-53` disappears in `1 - beta^t`.
///
/// Hundreds of groups with the same beta ask for the same power in every step: the last ones are kept.
pub fn beta_power(beta: f64, t: u64) -> f64 {
    thread_local! {
        static LAST: [Cell<(f64, u64, f64)>; 8] = const { [const { Cell::new((f64::NAN, 0, f64::NAN)) }; 8] };
    }
    let place = beta.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    LAST.with(|last| {
        let cell = &last[place as usize];
        let (known_beta, known_t, known) = cell.get();
        if known_beta == beta && known_t == t {
            return known;
        }
        let power = beta.powi(t.min(i32::MAX as u64) as i32);
        cell.set((beta, t, power));
        power
    })
}

/// An optimizer: the configuration of one parameter group, and the equation.
///
/// `update` is the scalar reference of the shader's `fn update`: same names, same order of
/// operations. See `examples/custom_rule.rs` for a whole rule outside this crate.
pub trait Rule: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Canonical name, as in JSON and on the command line.
    const NAME: &'static str;
    /// The shader: `struct Hyper`, `struct State` and `fn update`. See `shaders/README.md`.
    const WGSL: &'static str;
    /// Wrong versions that the tests must reject.
    const MUTANTS: &'static [Mutant] = &[];
    /// Host scalars; declared with [`equation!`](crate::equation).
    type Hyper<R: Real>: HostScalars<R>;
    /// Slots; declared with [`equation!`](crate::equation).
    type State<T: Copy>: Slots<T>;

    /// The numbers of the configuration and their ranges; written with [`numbers!`](crate::numbers).
    const NUMBERS: &'static [Number<Self>];

    /// Checks what the ranges of single numbers cannot say.
    fn consistent(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// How many values of each slot this configuration needs for a parameter: 0, 1, or n for a ring, where the equation
    /// sees at step t what it wrote at step t - n (its initial value before). All rings of a rule have the same length.
    /// Rows and columns are not values of a parameter: 0. By default 1, and 0 for those.
    fn depths(&self) -> Self::State<u32> {
        let element = |slot: usize| Self::State::<u32>::SLOTS[slot].kind == SlotKind::Element;
        Self::State::from_fn(|slot| element(slot).into())
    }

    /// The value that each slot starts with.
    fn initial(&self) -> Self::State<f32> {
        Self::State::from_fn(|_| 0.0)
    }

    /// The host scalars of step `t` (1 for the first), in `f64`. What is `real` or `flag` must not depend on `t`, and
    /// what is `counted` should depend on nothing that changes from step to step, such as the learning rate: write
    /// the two as factors of their own.
    fn hyper(&self, t: u64, state: &mut HostState) -> Self::Hyper<f64>;

    /// One parameter's step: updates the slots, and returns what is subtracted from the parameter beside its decoupled
    /// decay: `theta <- theta - (decay + step)`. The reference of the shader's `fn update`.
    fn update<R: Real>(theta: R, g: R, s: &mut Self::State<R>, h: &Self::Hyper<R>) -> R;

    /// Whether the rule decays its parameters beside its step, and so has a function `decay`.
    const DECAYS: bool = false;

    /// What decoupled weight decay subtracts from the parameter in a step: whatever masks or scales the step leaves it
    /// alone. Not `theta * (1 - lr weight_decay)`: one `f32` word does not hold that factor where the product is
    /// small. The reference of the shader's `fn decay`.
    fn decay<R: Real>(_theta: R, _h: &Self::Hyper<R>) -> R {
        R::host(0.0)
    }

    /// Whether the rule trains other weights than those to evaluate, and converts between them.
    const CONVERTS: bool = false;

    /// Whether the next step is to leave weights for evaluation, of a rule that converts. A step that finds the others
    /// converts them and does nothing else: it looks at no gradient, and does not count.
    fn evaluates(&self) -> bool {
        false
    }

    /// One parameter converted to the weights for evaluation, or back. The reference of the shader's `fn convert`.
    fn convert<R: Real>(theta: R, _s: &Self::State<R>, _h: &Self::Hyper<R>, _evaluate: bool) -> R {
        theta
    }

    /// What the reductions are taken over.
    const SCOPE: Scope = Scope::Tensor;

    /// Whether this configuration needs the results of its reductions: where no group does, nothing is reduced and
    /// they are 0.
    fn reduces(&self) -> bool {
        true
    }

    /// One parameter's terms of the results (the fields of kind `norm`, `max` and `sum`): one value for each, in order,
    /// before the step. The reference of the shader's `fn terms`, which returns a `struct Terms`. At most four.
    fn terms<R: Real>(_theta: R, _g: R, _s: &Self::State<R>, _h: &Self::Hyper<R>, _terms: &mut [R]) {}

    /// What the fields of kind `device` start with, in order. They stay on the device from step to step, for scalars that
    /// follow from results, and every tensor of every group sees the same: all groups must start them alike. `terms` sees
    /// the values before [`next_device_scalars`](Rule::next_device_scalars), `update` those after it, `factored_term` and
    /// `factored_average` zeros.
    fn device_scalars(&self) -> [f64; MAX_DEVICE_SCALARS] {
        [0.0; MAX_DEVICE_SCALARS]
    }

    /// Once in a step that is taken, between `terms` and `update`: gives the device scalars new values, in order. `h` is
    /// the first group's, with the values before and the results over all tensors ([`Scope::All`]). The reference of
    /// the shader's `fn next_device_scalars`, which returns a `struct DeviceScalars`.
    fn next_device_scalars<R: Real>(_h: &Self::Hyper<R>, _scalars: &mut [R]) {}

    /// What a gradient adds to the means of its row and its column, of rules with such slots, which a step
    /// averages before anything else. `State` then has, as values of a parameter, its row's average over the
    /// mean of those of its matrix, and its column's average. The reference of the shader's `fn factored_term`.
    fn factored_term<R: Real>(g: R, _h: &Self::Hyper<R>) -> R {
        g
    }

    /// The average of a row or column after a step with this mean. The reference of the shader's `fn factored_average`.
    fn factored_average<R: Real>(_before: R, mean: R, _h: &Self::Hyper<R>) -> R {
        mean
    }

    /// Configurations that together reach every branch of the equation; tests and benches run all.
    fn variants() -> Vec<Self>;

    /// A configuration that trains a small network from scratch.
    fn example() -> Self;
}
