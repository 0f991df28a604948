//! What a rule is: a configuration, its slots, its update equation in WGSL and in Rust.
//!
//! A rule implements [`Rule`]; everything else in the library sees it as a [`Method`], which is
//! implemented for every rule and hides its types, and holds it as an [`AnyRule`] where the rule is
//! chosen at run time.

use crate::cpu::{self, Step};
use crate::error::Refusal;
use crate::interval::Interval;
use crate::real::Real;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt::Debug;

/// What one group's rule carries on the host from step to step, for host scalars that are
/// recurrences (LaProp's sum of rates, NAdam's product of momenta). Starts as zeros.
pub type Memory = [f64; 4];

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

/// More fields than any row of host scalars has.
pub(crate) const MAX_FIELDS: usize = 32;
/// More slots than any rule has.
pub(crate) const MAX_SLOTS: usize = 16;
/// Fields that one rule may carry.
pub const MAX_CARRIED: usize = 4;

/// What a field of `Hyper` is in WGSL, and what its value follows.
///
/// Numbers that the user sets act in the step that they were set for. What follows from the number of steps taken
/// (a bias correction, a warm-up) is that of the steps which the device really took: a step that was skipped, or
/// recorded and never submitted, does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `f32`: a number of the configuration, as it is now
    Real,
    /// `u32`: an option of the equation, as it is now
    Flag,
    /// `f32`: follows from the number of steps taken
    Counted,
    /// `u32`: an option that follows from the number of steps taken
    CountedFlag,
    /// `u32`: 1 in the first step that is taken, where slots have no values yet; 0 afterwards
    First,
    /// `f32`: the norm of what [`Rule::measure`] gives, over a tensor or over all of them
    Norm,
    /// `f32`: the largest of what [`Rule::measure`] gives, which must not be negative
    Max,
    /// `f32`: the sum of what [`Rule::measure`] gives
    Sum,
    /// `f32`: kept on the device from step to step, changed by [`Rule::carry`]; one for all groups
    Carried,
}

impl FieldKind {
    /// Whether the value is a `u32` in WGSL.
    pub fn is_flag(self) -> bool {
        matches!(self, FieldKind::Flag | FieldKind::CountedFlag | FieldKind::First)
    }

    /// Whether the host sends the value anew with each step.
    pub fn is_of_now(self) -> bool {
        matches!(self, FieldKind::Real | FieldKind::Flag)
    }

    /// Whether the host sends a value for each number of steps taken, of which the device picks the right one.
    pub fn is_counted(self) -> bool {
        matches!(self, FieldKind::Counted | FieldKind::CountedFlag)
    }

    /// Whether the device finds the value, by [`Rule::measure`].
    pub fn is_measured(self) -> bool {
        matches!(self, FieldKind::Norm | FieldKind::Max | FieldKind::Sum)
    }
}

/// What a slot has one value for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Each parameter.
    Element,
    /// Each row of the two largest dimensions; each parameter of a tensor of fewer dimensions.
    Rows,
    /// Each column of the two largest dimensions; nothing of a tensor of fewer dimensions.
    Columns,
}

/// What the measured fields of a rule are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each tensor has its own.
    Tensor,
    /// One for all tensors of all groups.
    All,
}

/// One field of a rule's `Hyper`: a host scalar as the shader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, in WGSL as in Rust.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldKind,
}

/// `Hyper<R>`: the host scalars of one group at one step. Written by [`equation!`](crate::equation).
pub trait Row<R: Real>: Sized {
    /// Names and kinds, in the order of the WGSL struct.
    const FIELDS: &'static [Field];
    /// From host values, in the arithmetic `R`.
    fn from_host(values: &[f64]) -> Self;
    /// To host values.
    fn to_host(&self, values: &mut [f64]);
    /// Sets the fields that are measured, in order.
    fn set_measured(&mut self, values: &[R]);
    /// Sets the fields that are carried, in order.
    fn set_carried(&mut self, values: &[R]);
}

/// `State<T>`: one value for each slot of a rule. Written by [`equation!`](crate::equation).
pub trait Lanes<T: Copy>: Sized {
    /// Names of the slots, in the order of the WGSL struct.
    const NAMES: &'static [&'static str];
    /// What each has a value for.
    const KINDS: &'static [SlotKind];
    /// From one value for each slot.
    fn from_slice(values: &[T]) -> Self;
    /// To one value for each slot.
    fn write(&self, values: &mut [T]);
}

/// Declares a rule's `Hyper<R>` (host scalars: `real` or `flag` for what is set, `counted` or `counted_flag` for what
/// follows from the number of steps taken, `first` for the first of them; what is measured on the device: `norm`,
/// `max` or `sum`; what the device carries from step to step: `carried`) and `State<T>` (slots; `r: rows` and
/// `c: columns` are averages over lines), in the order of the structs of the same names in its WGSL. A test
/// compares the two through naga.
///
/// ```
/// wgpu_optim::equation! {
///     hyper { lr: real, nesterov: flag }
///     state { b }
/// }
/// let s = State { b: 1.0f32 };
/// assert_eq!(<State<f32> as wgpu_optim::Lanes<f32>>::NAMES, ["b"]);
/// # let _ = s.b;
/// ```
///
/// A rule without state writes `state {}`, and in WGSL, which has no empty structs,
/// `struct State { none: f32 }`.
#[macro_export]
macro_rules! equation {
    (hyper { $($field:ident : $kind:ident),* $(,)? } state { $($slot:ident $(: $line:ident)?),* $(,)? }) => {
        /// Host scalars of one group at one step, in the order of `struct Hyper` in the shader.
        #[allow(missing_docs)]
        pub struct Hyper<R> { $(pub $field: $crate::equation!(@type $kind R)),* }

        // By hand, because a derive does not look into the macro that names the types.
        impl<R: Copy> Clone for Hyper<R> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<R: Copy> Copy for Hyper<R> {}
        impl<R: std::fmt::Debug> std::fmt::Debug for Hyper<R> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Hyper")$(.field(stringify!($field), &self.$field))*.finish()
            }
        }

        impl<R: $crate::Real> $crate::Row<R> for Hyper<R> {
            const FIELDS: &'static [$crate::Field] = &[
                $($crate::Field { name: stringify!($field), kind: $crate::equation!(@kind $kind) }),*
            ];
            fn from_host(values: &[f64]) -> Self {
                let mut values = values.iter().copied();
                let mut next = move || values.next().unwrap_or(f64::NAN);
                Self { $($field: $crate::equation!(@from $kind R next())),* }
            }
            fn to_host(&self, values: &mut [f64]) {
                let fields = [$($crate::equation!(@to $kind self.$field)),*];
                values[..fields.len()].copy_from_slice(&fields);
            }
            fn set_measured(&mut self, values: &[R]) {
                let mut values = values.iter().copied();
                $($crate::equation!(@measured $kind self.$field values);)*
                let _ = values.next();
            }
            fn set_carried(&mut self, values: &[R]) {
                let mut values = values.iter().copied();
                $($crate::equation!(@carried $kind self.$field values);)*
                let _ = values.next();
            }
        }

        $crate::equation!(@state $($slot $($line)?,)*);
    };
    (@state) => {
        /// This rule keeps no state.
        #[derive(Debug, Clone, Copy)]
        pub struct State<T>(std::marker::PhantomData<T>);

        impl<T: Copy> $crate::Lanes<T> for State<T> {
            const NAMES: &'static [&'static str] = &[];
            const KINDS: &'static [$crate::SlotKind] = &[];
            fn from_slice(_: &[T]) -> Self { Self(std::marker::PhantomData) }
            fn write(&self, _: &mut [T]) {}
        }
    };
    (@state $($slot:ident $($line:ident)?,)+) => {
        /// One value for each slot, in the order of `struct State` in the shader.
        #[derive(Debug, Clone, Copy)]
        #[allow(missing_docs, non_snake_case)] // slots have the symbols of their papers
        pub struct State<T> { $(pub $slot: T),* }

        impl<T: Copy> $crate::Lanes<T> for State<T> {
            const NAMES: &'static [&'static str] = &[$(stringify!($slot)),*];
            const KINDS: &'static [$crate::SlotKind] = &[$($crate::equation!(@slot $($line)?)),*];
            #[allow(non_snake_case)]
            fn from_slice(values: &[T]) -> Self {
                let [$($slot),*] = *values else { unreachable!("one value for each slot") };
                Self { $($slot),* }
            }
            fn write(&self, values: &mut [T]) {
                values.copy_from_slice(&[$(self.$slot),*]);
            }
        }
    };
    (@slot) => { $crate::SlotKind::Element };
    (@slot rows) => { $crate::SlotKind::Rows };
    (@slot columns) => { $crate::SlotKind::Columns };
    (@type flag $r:ident) => { u32 };
    (@type counted_flag $r:ident) => { u32 };
    (@type first $r:ident) => { u32 };
    (@type $kind:ident $r:ident) => { $r };
    (@kind real) => { $crate::FieldKind::Real };
    (@kind flag) => { $crate::FieldKind::Flag };
    (@kind counted) => { $crate::FieldKind::Counted };
    (@kind counted_flag) => { $crate::FieldKind::CountedFlag };
    (@kind first) => { $crate::FieldKind::First };
    (@kind norm) => { $crate::FieldKind::Norm };
    (@kind max) => { $crate::FieldKind::Max };
    (@kind sum) => { $crate::FieldKind::Sum };
    (@kind carried) => { $crate::FieldKind::Carried };
    (@from flag $r:ident $value:expr) => { $value as u32 };
    (@from counted_flag $r:ident $value:expr) => { $value as u32 };
    (@from first $r:ident $value:expr) => { $value as u32 };
    (@from $kind:ident $r:ident $value:expr) => { $r::host($value) };
    (@to flag $value:expr) => { f64::from($value) };
    (@to counted_flag $value:expr) => { f64::from($value) };
    (@to first $value:expr) => { f64::from($value) };
    (@to $kind:ident $value:expr) => { $crate::Real::to_f64($value) };
    (@measured norm $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@measured max $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@measured sum $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@measured $kind:ident $self:ident . $field:ident $values:ident) => {};
    (@carried carried $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@carried $kind:ident $self:ident . $field:ident $values:ident) => {};
    (@set $self:ident . $field:ident $values:ident) => {
        if let Some(value) = $values.next() {
            $self.$field = value;
        }
    };
}

/// The range of a number in a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Finite and at least this.
    AtLeast(f64),
    /// Finite and above this.
    Above(f64),
    /// In `[low, high)`.
    HalfOpen(f64, f64),
    /// In `[low, high]`.
    Closed(f64, f64),
    /// Any finite number.
    Finite,
}

impl Limit {
    /// Checks a number as it will be used: in `f32`, where what is too small may count as zero.
    ///
    /// # Errors
    /// [`Refusal`] that names `field`, the value and the range.
    pub fn check(self, field: &'static str, x: f64) -> Result<(), Refusal> {
        let used = f64::from(x as f32);
        let what = if !self.allows(x) {
            String::new()
        } else if !used.is_finite() {
            format!(", and at most {:e}, which f32 holds", f32::MAX)
        } else if x != 0.0 && used.abs() < f64::from(f32::MIN_POSITIVE) {
            format!(", and 0 or at least {:e} in magnitude: GPUs may take less for 0", f32::MIN_POSITIVE)
        } else if !self.allows(used) {
            format!(", also in f32, where it is {used}")
        } else {
            return Ok(());
        };
        Err(Refusal::new(field, x, format!("{self}{what}")))
    }

    /// Whether `x` is inside; NaN and infinities never are.
    pub fn allows(self, x: f64) -> bool {
        x.is_finite()
            && match self {
                Limit::AtLeast(low) => x >= low,
                Limit::Above(low) => x > low,
                Limit::HalfOpen(low, high) => x >= low && x < high,
                Limit::Closed(low, high) => x >= low && x <= high,
                Limit::Finite => true,
            }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::AtLeast(low) => write!(f, "finite and at least {low}"),
            Limit::Above(low) => write!(f, "finite and above {low}"),
            Limit::HalfOpen(low, high) => write!(f, "in [{low}, {high})"),
            Limit::Closed(low, high) => write!(f, "in [{low}, {high}]"),
            Limit::Finite => write!(f, "finite"),
        }
    }
}

/// Called with each number of a configuration: its name, the number, its range.
pub type Visit<'a> = &'a mut dyn FnMut(&'static str, &mut f64, Limit);

/// A wrong version of a shader that the tests must reject: `find` stands once in the WGSL and is
/// replaced by `replace`. A comparison that accepts a mutant proves nothing about the rule.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What is wrong with it.
    pub name: &'static str,
    /// Text of the shader.
    pub find: &'static str,
    /// The wrong text.
    pub replace: &'static str,
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
    type Hyper<R: Real>: Row<R>;
    /// Slots; declared with [`equation!`](crate::equation).
    type State<T: Copy>: Lanes<T>;

    /// Calls `each` with every number of the configuration and its range.
    fn numbers(&mut self, each: Visit<'_>);

    /// Checks what the ranges of single numbers cannot say.
    fn consistent(&self) -> Result<(), Refusal> {
        Ok(())
    }

    /// How many values of each slot this configuration needs for a parameter: 0 (as of rows and columns), 1, or n for a ring, where the equation
    /// sees at step t what it wrote at step t - n (its initial value before). All rings of a rule have
    /// the same length.
    fn keeps(&self) -> Self::State<u32>;

    /// The value that each slot starts with.
    fn initial(&self) -> Self::State<f32> {
        Self::State::from_slice(&[0.0; MAX_SLOTS][..Self::State::<f32>::NAMES.len()])
    }

    /// The host scalars of step `t` (1 for the first), in `f64`. What is `real` or `flag` must not depend on `t`, and
    /// what is `counted` should depend on nothing that changes from step to step, such as the learning rate: write
    /// the two as factors of their own.
    fn hyper(&self, t: u64, memory: &mut Memory) -> Self::Hyper<f64>;

    /// One parameter's step: updates the slots, and returns what is subtracted from the parameter beside its decoupled
    /// decay: `theta <- theta - (decay + step)`. The twin of the shader's `fn update`.
    fn update<R: Real>(theta: R, g: R, s: &mut Self::State<R>, h: &Self::Hyper<R>) -> R;

    /// Whether the rule decays its parameters beside its step, and so has a function `decay`.
    const DECAYS: bool = false;

    /// What decoupled weight decay subtracts from the parameter in a step: whatever masks or scales the step leaves it
    /// alone. Not `theta * (1 - lr weight_decay)`: one `f32` word does not hold that factor where the product is
    /// small. The twin of the shader's `fn decay`.
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

    /// One parameter converted to the weights for evaluation, or back. The twin of the shader's `fn convert`.
    fn convert<R: Real>(theta: R, _s: &Self::State<R>, _h: &Self::Hyper<R>, _evaluate: bool) -> R {
        theta
    }

    /// What the measured fields are taken over.
    const SCOPE: Scope = Scope::Tensor;

    /// Whether this configuration needs its measured fields: where no group does, nothing is measured and
    /// they are 0.
    fn measures(&self) -> bool {
        true
    }

    /// One parameter's share of the measured fields: one value for each, in order, before the step. The twin
    /// of the shader's `fn measure`, which returns a `struct Measured`. At most four.
    fn measure<R: Real>(_theta: R, _g: R, _s: &Self::State<R>, _h: &Self::Hyper<R>, _shares: &mut [R]) {}

    /// What the fields of kind `carried` start with, in order. They live on the device from step to step, for
    /// scalars that follow from what was measured, and every tensor of every group sees the same: all groups
    /// must start them alike. `measure` sees the values before [`carry`](Rule::carry), `update` those after it,
    /// `line_share` and `line_average` zeros.
    fn carried(&self) -> [f64; MAX_CARRIED] {
        [0.0; MAX_CARRIED]
    }

    /// Once in a step that is taken, between `measure` and `update`: gives the carried fields new values, in
    /// order. `h` is the first group's, with the values before and what was measured over all tensors
    /// ([`Scope::All`]). The twin of the shader's `fn carry`, which returns a `struct Carried`.
    fn carry<R: Real>(_h: &Self::Hyper<R>, _carried: &mut [R]) {}

    /// What a gradient adds to the means of its row and its column, of rules with such slots, which a step
    /// averages before anything else. `State` then has, as values of a parameter, its row's average over the
    /// mean of those of its matrix, and its column's average. The twin of the shader's `fn line_share`.
    fn line_share<R: Real>(g: R, _h: &Self::Hyper<R>) -> R {
        g
    }

    /// A line's average after a step with this mean. The twin of the shader's `fn line_average`.
    fn line_average<R: Real>(_before: R, mean: R, _h: &Self::Hyper<R>) -> R {
        mean
    }

    /// Configurations that together reach every branch of the equation; tests and benches run all.
    fn variants() -> Vec<Self>;

    /// A configuration that trains a small network from scratch.
    fn example() -> Self;
}

/// A rule with its types hidden. Implemented for every [`Rule`]; not meant to be implemented by hand.
pub trait Method: Debug + Send + Sync {
    /// [`Rule::NAME`]
    fn name(&self) -> &'static str;
    /// [`Rule::WGSL`]
    fn wgsl(&self) -> &'static str;
    /// [`Rule::MUTANTS`]
    fn mutants(&self) -> &'static [Mutant];
    /// The fields of `Hyper`.
    fn fields(&self) -> &'static [Field];
    /// The names of the slots.
    fn slots(&self) -> &'static [&'static str];
    /// What each slot has a value for.
    fn slot_kinds(&self) -> &'static [SlotKind];
    /// [`Rule::keeps`], one for each of [`slots`](Method::slots).
    fn keeps(&self, depths: &mut [u32]);
    /// The value that each slot starts with, one for each of [`slots`](Method::slots).
    fn initial(&self, values: &mut [f32]);
    /// Calls `each` with every number of the configuration and its range.
    fn numbers(&mut self, each: Visit<'_>);
    /// Checks every number and what they must be together.
    fn validate(&self) -> Result<(), Refusal>;
    /// Checks the host scalars of some steps to come, up to step 2^24: what follows from numbers in their ranges may
    /// be out of `f32`'s.
    fn foreseeable(&self) -> Result<(), Refusal>;
    /// The host scalars of step `t`, one for each of [`fields`](Method::fields).
    fn host_row(&self, t: u64, memory: &mut Memory, row: &mut [f64]);
    /// [`Rule::DECAYS`]
    fn decays(&self) -> bool;
    /// [`Rule::CONVERTS`]
    fn converts(&self) -> bool;
    /// [`Rule::evaluates`]
    fn evaluates(&self) -> bool;
    /// Converts the parameters of a step in `f64`.
    fn convert_f64(&self, step: Step<'_, '_, f64>, evaluate: bool);
    /// The same in interval arithmetic.
    fn convert_interval(&self, step: Step<'_, '_, Interval>, evaluate: bool);
    /// [`Rule::SCOPE`]
    fn scope(&self) -> Scope;
    /// [`Rule::measures`]
    fn measures(&self) -> bool;
    /// [`Rule::carried`]
    fn carried(&self) -> [f64; MAX_CARRIED];
    /// The carried fields after a step whose first group has this row.
    fn carry_f64(&self, row: &[f64], measured: &[f64], carried: &mut [f64]);
    /// The same in interval arithmetic.
    fn carry_interval(&self, row: &[f64], measured: &[Interval], carried: &mut [Interval]);
    /// The shares of each measured field, one vector for each.
    fn shares_f64(&self, step: &Step<'_, '_, f64>) -> Vec<Vec<f64>>;
    /// The shares in interval arithmetic.
    fn shares_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Vec<Interval>>;
    /// What each gradient adds to the means of its lines.
    fn line_shares_f64(&self, step: &Step<'_, '_, f64>) -> Vec<f64>;
    /// The same in interval arithmetic.
    fn line_shares_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Interval>;
    /// The averages of lines after a step with these means.
    fn line_averages_f64(&self, row: &[f64], before: &[f64], means: &[f64]) -> Vec<f64>;
    /// The same in interval arithmetic.
    fn line_averages_interval(&self, row: &[f64], before: &[Interval], means: &[Interval]) -> Vec<Interval>;
    /// For each element 1 where the rule's step goes against the gradient, 0 elsewhere.
    fn agrees_f64(&self, step: &Step<'_, '_, f64>) -> Vec<f64>;
    /// The same in interval arithmetic.
    fn agrees_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Interval>;
    /// The reference in `f32`, element by element.
    fn run_f32(&self, step: Step<'_, '_, f32>);
    /// The reference in `f64`.
    fn run_f64(&self, step: Step<'_, '_, f64>);
    /// The reference in interval arithmetic.
    fn run_interval(&self, step: Step<'_, '_, Interval>);
    /// The configuration as a JSON object, with the optimizer's name.
    fn to_json(&self) -> serde_json::Value;
    /// A copy.
    fn boxed(&self) -> Box<dyn Method>;
}

/// How many fields are carried from step to step.
pub(crate) fn carried_fields(fields: &[Field]) -> usize {
    fields.iter().filter(|field| field.kind == FieldKind::Carried).count()
}

/// Refuses host scalars of step `t` that `f32` does not hold.
pub(crate) fn finite_row(fields: &[Field], row: &[f64], t: u64) -> Result<(), Refusal> {
    for (field, value) in fields.iter().zip(row) {
        if !field.kind.is_flag() && !(*value as f32).is_finite() {
            let limit =
                format!("finite in f32 at step {t}; it follows from the numbers of the configuration");
            return Err(Refusal::new(field.name, *value, limit));
        }
    }
    Ok(())
}

/// Refuses carried fields that do not start as those of the first group.
pub(crate) fn starts_alike(method: &dyn Method, first: &[f64; MAX_CARRIED]) -> Result<(), Refusal> {
    let carried = method.fields().iter().filter(|field| field.kind == FieldKind::Carried);
    for ((field, got), first) in carried.zip(method.carried()).zip(first) {
        if got != *first {
            let limit = format!("{first}, as in the first group: all groups start it alike and share it");
            return Err(Refusal::new(field.name, got, limit));
        }
    }
    Ok(())
}

impl<M: Rule> Method for M {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn wgsl(&self) -> &'static str {
        M::WGSL
    }
    fn mutants(&self) -> &'static [Mutant] {
        M::MUTANTS
    }
    fn fields(&self) -> &'static [Field] {
        M::Hyper::<f32>::FIELDS
    }
    fn slots(&self) -> &'static [&'static str] {
        M::State::<f32>::NAMES
    }
    fn slot_kinds(&self) -> &'static [SlotKind] {
        M::State::<f32>::KINDS
    }
    fn keeps(&self, depths: &mut [u32]) {
        Rule::keeps(self).write(depths);
    }
    fn initial(&self, values: &mut [f32]) {
        Rule::initial(self).write(values);
    }
    fn numbers(&mut self, each: Visit<'_>) {
        Rule::numbers(self, each);
    }
    fn validate(&self) -> Result<(), Refusal> {
        let mut refused = None;
        Rule::numbers(&mut self.clone(), &mut |field, value, limit| {
            if refused.is_none() {
                refused = limit.check(field, *value).err();
            }
        });
        match refused {
            Some(refusal) => Err(refusal),
            None => self.consistent(),
        }
    }
    fn foreseeable(&self) -> Result<(), Refusal> {
        for t in [1, 2, 10, 1000, 1 << 24] {
            let mut row = [0.0; MAX_FIELDS];
            let row = &mut row[..M::Hyper::<f64>::FIELDS.len()];
            Method::host_row(self, t, &mut Memory::default(), row);
            finite_row(M::Hyper::<f64>::FIELDS, row, t)?;
        }
        Ok(())
    }
    fn host_row(&self, t: u64, memory: &mut Memory, row: &mut [f64]) {
        self.hyper(t, memory).to_host(row);
    }
    fn decays(&self) -> bool {
        M::DECAYS
    }
    fn converts(&self) -> bool {
        M::CONVERTS
    }
    fn evaluates(&self) -> bool {
        Rule::evaluates(self)
    }
    fn convert_f64(&self, step: Step<'_, '_, f64>, evaluate: bool) {
        cpu::convert::<M, f64>(step, evaluate);
    }
    fn convert_interval(&self, step: Step<'_, '_, Interval>, evaluate: bool) {
        cpu::convert::<M, Interval>(step, evaluate);
    }
    fn scope(&self) -> Scope {
        M::SCOPE
    }
    fn measures(&self) -> bool {
        Rule::measures(self)
    }
    fn carried(&self) -> [f64; MAX_CARRIED] {
        Rule::carried(self)
    }
    fn carry_f64(&self, row: &[f64], measured: &[f64], carried: &mut [f64]) {
        cpu::carry::<M, f64>(row, measured, carried);
    }
    fn carry_interval(&self, row: &[f64], measured: &[Interval], carried: &mut [Interval]) {
        cpu::carry::<M, Interval>(row, measured, carried);
    }
    fn shares_f64(&self, step: &Step<'_, '_, f64>) -> Vec<Vec<f64>> {
        cpu::shares::<M, f64>(step)
    }
    fn shares_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Vec<Interval>> {
        cpu::shares::<M, Interval>(step)
    }
    fn line_shares_f64(&self, step: &Step<'_, '_, f64>) -> Vec<f64> {
        cpu::line_shares::<M, f64>(step)
    }
    fn line_shares_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Interval> {
        cpu::line_shares::<M, Interval>(step)
    }
    fn line_averages_f64(&self, row: &[f64], before: &[f64], means: &[f64]) -> Vec<f64> {
        cpu::line_averages::<M, f64>(row, before, means)
    }
    fn line_averages_interval(&self, row: &[f64], before: &[Interval], means: &[Interval]) -> Vec<Interval> {
        cpu::line_averages::<M, Interval>(row, before, means)
    }
    fn agrees_f64(&self, step: &Step<'_, '_, f64>) -> Vec<f64> {
        cpu::agrees::<M, f64>(step)
    }
    fn agrees_interval(&self, step: &Step<'_, '_, Interval>) -> Vec<Interval> {
        cpu::agrees::<M, Interval>(step)
    }
    fn run_f32(&self, step: Step<'_, '_, f32>) {
        cpu::run::<M, f32>(step);
    }
    fn run_f64(&self, step: Step<'_, '_, f64>) {
        cpu::run::<M, f64>(step);
    }
    fn run_interval(&self, step: Step<'_, '_, Interval>) {
        cpu::run::<M, Interval>(step);
    }
    fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = json.as_object_mut() {
            object.insert("optimizer".into(), M::NAME.into());
        }
        json
    }
    fn boxed(&self) -> Box<dyn Method> {
        Box::new(self.clone())
    }
}
