//! Declares a rule's scalars and slots once, for every arithmetic.

use crate::arithmetic::Real;
use crate::rule::{Field, Slot};

/// `Hyper<R>`: the scalars of one group at one step. Written by [`equation!`](crate::equation).
pub trait HostScalars<R: Real>: Sized {
    /// Names and kinds, in the order of the WGSL struct.
    const FIELDS: &'static [Field];
    /// From host values, in the arithmetic `R`.
    fn from_host(values: &[f64]) -> Self;
    /// To host values.
    fn to_host(&self, values: &mut [f64]);
    /// Sets the fields that are results of reductions, in order.
    fn set_results(&mut self, values: &[R]);
    /// Sets the device scalars, in order.
    fn set_device(&mut self, values: &[R]);
}

/// `State<T>`: one value for each slot of a rule. Written by [`equation!`](crate::equation).
pub trait Slots<T: Copy>: Sized {
    /// The slots, in the order of the WGSL struct.
    const SLOTS: &'static [Slot];
    /// From the value of each slot, by its index.
    fn from_fn(value: impl FnMut(usize) -> T) -> Self;
    /// Calls `see` with the index and the value of each slot.
    fn each(&self, see: impl FnMut(usize, T));
}

/// Declares a rule's `Hyper<R>` (host scalars: `real` or `flag` for what is set, `counted` or `counted_flag` for what
/// follows from the number of steps taken, `first` for the first of them; results of reductions on the device: `norm`,
/// `max` or `sum`; scalars that stay on the device from step to step: `device`) and `State<T>` (slots; `r: rows` and
/// `c: columns` are averages over rows and columns), in the order of the structs of the same names in its WGSL. A test
/// compares the two through naga.
///
/// ```
/// wgpu_optim::equation! {
///     hyper { lr: real, nesterov: flag }
///     state { b }
/// }
/// let s = State { b: 1.0f32 };
/// assert_eq!(<State<f32> as wgpu_optim::rule::Slots<f32>>::SLOTS[0].name, "b");
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

        impl<R: $crate::rule::Real> $crate::rule::HostScalars<R> for Hyper<R> {
            const FIELDS: &'static [$crate::rule::Field] = &[
                $($crate::rule::Field { name: stringify!($field), kind: $crate::equation!(@kind $kind) }),*
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
            fn set_results(&mut self, values: &[R]) {
                let mut values = values.iter().copied();
                $($crate::equation!(@result $kind self.$field values);)*
                let _ = values.next();
            }
            fn set_device(&mut self, values: &[R]) {
                let mut values = values.iter().copied();
                $($crate::equation!(@device $kind self.$field values);)*
                let _ = values.next();
            }
        }

        $crate::equation!(@state $($slot $($line)?,)*);
    };
    (@state) => {
        /// This rule keeps no state.
        #[derive(Debug, Clone, Copy)]
        pub struct State<T>(std::marker::PhantomData<T>);

        impl<T: Copy> $crate::rule::Slots<T> for State<T> {
            const SLOTS: &'static [$crate::rule::Slot] = &[];
            fn from_fn(_: impl FnMut(usize) -> T) -> Self { Self(std::marker::PhantomData) }
            fn each(&self, _: impl FnMut(usize, T)) {}
        }
    };
    (@state $($slot:ident $($line:ident)?,)+) => {
        /// One value for each slot, in the order of `struct State` in the shader.
        #[derive(Debug, Clone, Copy)]
        #[allow(missing_docs, non_snake_case)] // slots have the symbols of their papers
        pub struct State<T> { $(pub $slot: T),* }

        impl<T: Copy> $crate::rule::Slots<T> for State<T> {
            const SLOTS: &'static [$crate::rule::Slot] = &[
                $($crate::rule::Slot { name: stringify!($slot), kind: $crate::equation!(@slot $($line)?) }),*
            ];
            fn from_fn(mut value: impl FnMut(usize) -> T) -> Self {
                let mut slot = 0..;
                Self { $($slot: value(slot.next().unwrap_or_default())),* }
            }
            fn each(&self, mut see: impl FnMut(usize, T)) {
                let mut slot = 0..;
                $(see(slot.next().unwrap_or_default(), self.$slot);)*
            }
        }
    };
    (@slot) => { $crate::rule::SlotKind::Element };
    (@slot rows) => { $crate::rule::SlotKind::Rows };
    (@slot columns) => { $crate::rule::SlotKind::Columns };
    (@type flag $r:ident) => { u32 };
    (@type counted_flag $r:ident) => { u32 };
    (@type first $r:ident) => { u32 };
    (@type $kind:ident $r:ident) => { $r };
    (@kind real) => { $crate::rule::FieldKind::Real };
    (@kind flag) => { $crate::rule::FieldKind::Flag };
    (@kind counted) => { $crate::rule::FieldKind::Counted };
    (@kind counted_flag) => { $crate::rule::FieldKind::CountedFlag };
    (@kind first) => { $crate::rule::FieldKind::First };
    (@kind norm) => { $crate::rule::FieldKind::Norm };
    (@kind max) => { $crate::rule::FieldKind::Max };
    (@kind sum) => { $crate::rule::FieldKind::Sum };
    (@kind device) => { $crate::rule::FieldKind::Device };
    (@from flag $r:ident $value:expr) => { $value as u32 };
    (@from counted_flag $r:ident $value:expr) => { $value as u32 };
    (@from first $r:ident $value:expr) => { $value as u32 };
    (@from $kind:ident $r:ident $value:expr) => { $r::host($value) };
    (@to flag $value:expr) => { f64::from($value) };
    (@to counted_flag $value:expr) => { f64::from($value) };
    (@to first $value:expr) => { f64::from($value) };
    (@to $kind:ident $value:expr) => { $crate::rule::Real::to_f64($value) };
    (@result norm $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@result max $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@result sum $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@result $kind:ident $self:ident . $field:ident $values:ident) => {};
    (@device device $self:ident . $field:ident $values:ident) => { $crate::equation!(@set $self.$field $values) };
    (@device $kind:ident $self:ident . $field:ident $values:ident) => {};
    (@set $self:ident . $field:ident $values:ident) => {
        if let Some(value) = $values.next() {
            $self.$field = value;
        }
    };
}
