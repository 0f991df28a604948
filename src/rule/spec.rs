//! What a rule is, as a table: names, host scalars, slots, mutants, and its equation in three arithmetics.

#[cfg(any(feature = "reference", test))]
use crate::arithmetic::Interval;
#[cfg(any(feature = "reference", test))]
use crate::rule::Equation;
use crate::rule::Rule;
use crate::rule::equation::{HostScalars, Slots};

/// More host scalars than any rule has.
pub(crate) const MAX_FIELDS: usize = 32;
/// More slots than any rule has.
pub(crate) const MAX_SLOTS: usize = 16;
/// Device scalars that one rule may have.
pub const MAX_DEVICE_SCALARS: usize = 4;
/// Results of reductions that one rule may have.
pub const MAX_RESULTS: usize = 4;

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
    /// `f32`: the norm of the [terms](Rule::terms) of a tensor or of all of them
    Norm,
    /// `f32`: the largest of the terms, which must not be negative
    Max,
    /// `f32`: the sum of the terms
    Sum,
    /// `f32`: kept on the device from step to step, changed by [`Rule::next_device_scalars`]; one for all groups
    Device,
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

    /// Whether the value is the result of a reduction on the device.
    pub fn is_result(self) -> bool {
        matches!(self, FieldKind::Norm | FieldKind::Max | FieldKind::Sum)
    }
}

/// One field of a rule's `Hyper`: a host scalar, a result or a device scalar, as the shader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name, in WGSL as in Rust.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldKind,
}

/// What a slot has one value for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// Each parameter.
    Element,
    /// Each row of the two largest dimensions; each parameter of a tensor of fewer dimensions.
    Rows,
    /// Each column of the two largest dimensions; nothing of a tensor of fewer dimensions.
    Columns,
}

/// One slot of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its name, in WGSL as in Rust.
    pub name: &'static str,
    /// What it has one value for.
    pub kind: SlotKind,
}

/// What the reductions of a rule are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each tensor has its own.
    Tensor,
    /// One for all tensors of all groups.
    All,
}

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

/// What a rule is, whatever its configuration: everything that a program, the reference and the tests read of it.
/// [`Rule`] says what each part means.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Spec {
    /// [`Rule::NAME`]
    pub name: &'static str,
    /// [`Rule::WGSL`]
    pub wgsl: &'static str,
    /// The fields of `Hyper`, in order.
    pub fields: &'static [Field],
    /// The slots, in the order of `State`.
    pub slots: &'static [Slot],
    /// [`Rule::SCOPE`]
    pub scope: Scope,
    /// [`Rule::DECAYS`]
    pub decays: bool,
    /// [`Rule::CONVERTS`]
    pub converts: bool,
    /// [`Rule::MUTANTS`]
    #[cfg(any(feature = "reference", test))]
    pub mutants: &'static [Mutant],
    /// The equation in `f32`.
    #[cfg(any(feature = "reference", test))]
    pub in_f32: Equation<f32>,
    /// The equation in `f64`: the truth.
    #[cfg(any(feature = "reference", test))]
    pub in_f64: Equation<f64>,
    /// The equation in intervals: all that a conforming GPU may return.
    #[cfg(any(feature = "reference", test))]
    pub in_interval: Equation<Interval>,
}

impl Spec {
    /// The table of a rule.
    pub const fn of<M: Rule>() -> Self {
        Self {
            name: M::NAME,
            wgsl: M::WGSL,
            fields: M::Hyper::<f32>::FIELDS,
            slots: M::State::<f32>::SLOTS,
            scope: M::SCOPE,
            decays: M::DECAYS,
            converts: M::CONVERTS,
            #[cfg(any(feature = "reference", test))]
            mutants: M::MUTANTS,
            #[cfg(any(feature = "reference", test))]
            in_f32: Equation::of::<M>(),
            #[cfg(any(feature = "reference", test))]
            in_f64: Equation::of::<M>(),
            #[cfg(any(feature = "reference", test))]
            in_interval: Equation::of::<M>(),
        }
    }

    /// Whether some slots are of rows and columns.
    pub fn is_factored(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind != SlotKind::Element)
    }

    /// The fields that are results of reductions, in order.
    pub fn results(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().filter(|field| field.kind.is_result())
    }

    /// The fields that stay on the device from step to step, in order.
    pub fn device_scalars(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().filter(|field| field.kind == FieldKind::Device)
    }
}
