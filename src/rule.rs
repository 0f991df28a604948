//! What a rule is: a configuration, its slots, its update equation in WGSL and in Rust.
//!
//! A rule implements [`Rule`]; everything else in the library sees it as a [`Method`], which is
//! implemented for every rule and hides its types, and holds it as an [`AnyRule`] where the rule is
//! chosen at run time.

use crate::error::Refusal;
use crate::interval::Interval;
use crate::real::Real;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What one group's rule carries on the host from step to step, for host scalars that are
/// recurrences (LaProp's sum of rates, NAdam's product of momenta). Starts as zeros.
pub type Memory = [f64; 4];

/// `beta^t` in f64, for bias corrections: by repeated squaring, several times faster than `powf`. Its
/// relative error of up to `t 2^-53` disappears in `1 - beta^t`.
pub fn beta_power(beta: f64, t: u64) -> f64 {
    beta.powi(t.min(i32::MAX as u64) as i32)
}

/// More fields than any row of host scalars has.
pub(crate) const MAX_FIELDS: usize = 32;
/// More slots than any rule has.
pub(crate) const MAX_SLOTS: usize = 16;

/// What a field of `Hyper` is in WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `f32`
    Real,
    /// `u32`: an option of the equation
    Flag,
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
}

/// `State<T>`: one value for each slot of a rule. Written by [`equation!`](crate::equation).
pub trait Lanes<T: Copy>: Sized {
    /// Names of the slots, in the order of the WGSL struct.
    const NAMES: &'static [&'static str];
    /// From one value for each slot.
    fn from_slice(values: &[T]) -> Self;
    /// To one value for each slot.
    fn write(&self, values: &mut [T]);
}

/// Declares a rule's `Hyper<R>` (host scalars; `real` or `flag`) and `State<T>` (slots), in the order
/// of the structs of the same names in its WGSL. A test compares the two through naga.
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
    (hyper { $($field:ident : $kind:ident),* $(,)? } state { $($slot:ident),* $(,)? }) => {
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
        }

        $crate::equation!(@state $($slot)*);
    };
    (@state) => {
        /// This rule keeps no state.
        #[derive(Debug, Clone, Copy)]
        pub struct State<T>(std::marker::PhantomData<T>);

        impl<T: Copy> $crate::Lanes<T> for State<T> {
            const NAMES: &'static [&'static str] = &[];
            fn from_slice(_: &[T]) -> Self { Self(std::marker::PhantomData) }
            fn write(&self, _: &mut [T]) {}
        }
    };
    (@state $($slot:ident)+) => {
        /// One value for each slot, in the order of `struct State` in the shader.
        #[derive(Debug, Clone, Copy)]
        #[allow(missing_docs, non_snake_case)] // slots have the symbols of their papers
        pub struct State<T> { $(pub $slot: T),* }

        impl<T: Copy> $crate::Lanes<T> for State<T> {
            const NAMES: &'static [&'static str] = &[$(stringify!($slot)),*];
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
    (@type real $r:ident) => { $r };
    (@type flag $r:ident) => { u32 };
    (@kind real) => { $crate::FieldKind::Real };
    (@kind flag) => { $crate::FieldKind::Flag };
    (@from real $r:ident $value:expr) => { $r::host($value) };
    (@from flag $r:ident $value:expr) => { $value as u32 };
    (@to real $value:expr) => { $crate::Real::to_f64($value) };
    (@to flag $value:expr) => { f64::from($value) };
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

    /// Which slots this configuration needs.
    fn keeps(&self) -> Self::State<bool>;

    /// The value that each slot starts with.
    fn initial(&self) -> Self::State<f32> {
        Self::State::from_slice(&[0.0; MAX_SLOTS][..Self::State::<f32>::NAMES.len()])
    }

    /// The host scalars of step `t` (1 for the first), in `f64`.
    fn hyper(&self, t: u64, memory: &mut Memory) -> Self::Hyper<f64>;

    /// One parameter's step: returns the new parameter and updates the slots.
    fn update<R: Real>(theta: R, g: R, s: &mut Self::State<R>, h: &Self::Hyper<R>) -> R;

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
    /// Which slots this configuration needs, one for each of [`slots`](Method::slots).
    fn keeps(&self, kept: &mut [bool]);
    /// The value that each slot starts with, one for each of [`slots`](Method::slots).
    fn initial(&self, values: &mut [f32]);
    /// Calls `each` with every number of the configuration and its range.
    fn numbers(&mut self, each: Visit<'_>);
    /// Checks every number and what they must be together.
    fn validate(&self) -> Result<(), Refusal>;
    /// The host scalars of step `t`, one for each of [`fields`](Method::fields).
    fn host_row(&self, t: u64, memory: &mut Memory, row: &mut [f64]);
    /// The reference in `f32`, element by element, with the host scalars of [`host_row`](Method::host_row).
    fn run_f32(&self, row: &[f64], theta: &mut [f32], g: &[f32], slots: &mut [&mut [f32]]);
    /// The reference in `f64`.
    fn run_f64(&self, row: &[f64], theta: &mut [f64], g: &[f64], slots: &mut [&mut [f64]]);
    /// The reference in interval arithmetic.
    fn run_interval(
        &self,
        row: &[f64],
        theta: &mut [Interval],
        g: &[Interval],
        slots: &mut [&mut [Interval]],
    );
    /// The configuration as a JSON object, with the optimizer's name.
    fn to_json(&self) -> serde_json::Value;
    /// A copy.
    fn boxed(&self) -> Box<dyn Method>;
}

/// Runs `update` over slices: the CPU twin of the shader's frame.
fn run<M: Rule, R: Real>(row: &[f64], theta: &mut [R], g: &[R], slots: &mut [&mut [R]]) {
    let h = M::Hyper::<R>::from_host(row);
    let mut lanes = vec![R::host(0.0); slots.len()];
    for (i, (theta, &g)) in theta.iter_mut().zip(g).enumerate() {
        // The frame's policy: a gradient that is not finite replaces its parameter.
        let finite = g.to_f64().is_finite();
        for (lane, slot) in lanes.iter_mut().zip(slots.iter()) {
            *lane = if slot.is_empty() { R::host(0.0) } else { slot[i] };
        }
        let mut s = M::State::<R>::from_slice(&lanes);
        let updated = M::update(*theta, g, &mut s, &h);
        *theta = if finite { updated } else { g };
        s.write(&mut lanes);
        for (lane, slot) in lanes.iter().zip(slots.iter_mut()) {
            if !slot.is_empty() {
                slot[i] = *lane;
            }
        }
    }
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
    fn keeps(&self, kept: &mut [bool]) {
        Rule::keeps(self).write(kept);
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
            if refused.is_none() && !limit.allows(*value) {
                refused = Some(Refusal::new(field, *value, limit.to_string()));
            }
        });
        match refused {
            Some(refusal) => Err(refusal),
            None => self.consistent(),
        }
    }
    fn host_row(&self, t: u64, memory: &mut Memory, row: &mut [f64]) {
        self.hyper(t, memory).to_host(row);
    }
    fn run_f32(&self, row: &[f64], theta: &mut [f32], g: &[f32], slots: &mut [&mut [f32]]) {
        run::<M, f32>(row, theta, g, slots);
    }
    fn run_f64(&self, row: &[f64], theta: &mut [f64], g: &[f64], slots: &mut [&mut [f64]]) {
        run::<M, f64>(row, theta, g, slots);
    }
    fn run_interval(
        &self,
        row: &[f64],
        theta: &mut [Interval],
        g: &[Interval],
        slots: &mut [&mut [Interval]],
    ) {
        run::<M, Interval>(row, theta, g, slots);
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

/// A rule chosen at run time: `AnyRule::from_json(r#"{"optimizer": "madam", "lr": 1e-3}"#)`.
#[derive(Debug)]
pub struct AnyRule(pub(crate) Box<dyn Method>);

impl AnyRule {
    /// Hides the type of a rule, ours or the caller's own.
    pub fn new(rule: impl Rule) -> Self {
        Self(Box::new(rule))
    }

    /// Canonical name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Sets a number of the configuration by its name, as a schedule does.
    ///
    /// # Errors
    /// [`Refusal`] if the rule has no such number or the value is outside its range.
    pub fn set(&mut self, field: &'static str, value: f64) -> Result<(), Refusal> {
        let mut result = None;
        self.0.numbers(&mut |name, number, limit| {
            if name == field {
                result = Some(if limit.allows(value) {
                    *number = value;
                    Ok(())
                } else {
                    Err(Refusal::new(field, value, limit.to_string()))
                });
            }
        });
        // Not made beforehand: a schedule sets numbers in every step and must not allocate.
        result.unwrap_or_else(|| {
            Err(Refusal::new(field, value, format!("left out: {} has no such number", self.name())))
        })
    }

    /// The number of this name.
    pub fn get(&self, field: &str) -> Option<f64> {
        let mut found = None;
        self.0.boxed().numbers(&mut |name, number, _| {
            if name == field {
                found = Some(*number);
            }
        });
        found
    }
}

impl Clone for AnyRule {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

/// What an [`Optimizer`](crate::Optimizer) holds one of for each group: a rule's own configuration,
/// or an [`AnyRule`].
pub trait Config: Clone {
    /// The rule behind it.
    fn method(&self) -> &dyn Method;
    /// The rule behind it, to change.
    fn method_mut(&mut self) -> &mut dyn Method;
}

impl<M: Rule> Config for M {
    fn method(&self) -> &dyn Method {
        self
    }
    fn method_mut(&mut self) -> &mut dyn Method {
        self
    }
}

impl Config for AnyRule {
    fn method(&self) -> &dyn Method {
        &*self.0
    }
    fn method_mut(&mut self) -> &mut dyn Method {
        &mut *self.0
    }
}
