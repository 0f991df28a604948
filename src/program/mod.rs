//! A step as data: everything that a device needs to run an optimizer, worked out once, by code that knows no device.
//!
//! A [`Program`] lists buffers with their first contents, WGSL modules, binding layouts, bindings and the passes that
//! every step repeats. An executor makes these objects on its device and runs the passes; the [`Clock`] beside it says
//! before each step which bytes to write first. [`Optimizer`](crate::Optimizer) is such an executor, on wgpu; nothing
//! here depends on it.
//!
//! ```
//! use wgpu_optim::program::{Clock, Declared, Limits, Options, Packing, Program, Tensors};
//! use wgpu_optim::rules::Adam;
//!
//! let limits = Limits::default();
//! let weight = Declared { name: "weight".into(), shape: vec![784, 10], group: 0, own: None };
//! let tensors = Tensors::lay_out(&["all"], &[weight], &[], Packing::default(), &limits)?;
//! let options = Options::default();
//! let program = Program::new(&tensors, &[Adam::adamw()], &options, &limits)?;
//! assert_eq!(program.passes.len(), 1);
//!
//! let mut clock = Clock::new(&program, [Adam::adamw()], options.wrappers)?;
//! for write in clock.next_step()?.writes() {
//!     let buffer = &program.buffers[write.buffer as usize];
//!     println!("{} bytes into {} at {}", write.bytes.len(), buffer.label, write.offset);
//! }
//! # Ok::<(), wgpu_optim::Error>(())
//! ```

mod assemble;
mod check;
mod clock;
mod contents;
mod factored;
mod functions;
mod host_rows;
mod limits;
mod listing;
mod matrices;
mod parts;
mod passes;
mod places;
mod progress;
mod read;
mod record;
mod row_masks;
mod rows;
mod shape;
mod step;
mod tensors;
mod text;
mod windows;
mod wiring;

#[cfg(feature = "export")]
pub(crate) use check::hash_of;
pub use clock::{Clock, NextStep, Write};
#[cfg(any(feature = "reference", test))]
pub(crate) use factored::{BLOCK, FEW_ROWS};
pub use limits::Limits;
pub(crate) use matrices::Matrices;
pub use parts::{Exchange, Part};
pub use progress::{Counts, Progress};
pub use read::Persistent;
pub use rows::{FieldPlace, RowLayout};
pub use shape::Shape;
pub use tensors::{Arena, Declared, Packing, Place, Tensor, Tensors};
pub(crate) use windows::fold;

use crate::rule::SlotKind;
use crate::wrappers::Wrappers;
use serde::{Deserialize, Serialize};

/// Bytes of an element.
pub(crate) const ELEMENT: u64 = 4;
/// Bytes of a vec4.
pub(crate) const VEC4: u64 = 16;
/// Invocations of a workgroup, the fewest that any pass has: those over rows and columns and the ones of a
/// [`Shape::Long`]. Every wave size divides it.
pub const WORKGROUP: u32 = 64;
/// Invocations of a workgroup that combines terms, as `WIDTH` in `shaders/core/combine.wgsl`.
pub const COMBINE_WIDTH: u32 = 128;
/// The version of the format of [`Program`].
pub const VERSION: u32 = 1;

/// What an optimizer may be told beside its groups' configurations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// Label of the pass and of every buffer, seen in captures. Default `"wgpu-optim: <rule>"`.
    pub label: Option<String>,
    /// How elements are dealt to invocations. By default what the device's kind wants.
    pub shape: Option<Shape>,
    /// Elements of a tile: a power of two from 256. By default what the shape wants. Results do not depend on it, but for
    /// the last bits of rules with norms, sums, rows or columns.
    pub tile: Option<u32>,
    /// Use at most this many storage buffers for slots, as on a device with few bindings. Results do
    /// not depend on it.
    pub state_buffers: Option<usize>,
    /// WGSL to run in the place of the rule's own: for experiments, and for negative controls, which
    /// run a rule's [`MUTANTS`](crate::rule::Rule::MUTANTS).
    pub wgsl: Option<String>,
    /// Steps that the host wants to record before a submit, each with other settings: there is room for at least so many,
    /// see [`Clock::steps_ahead`]. Each takes some ten to hundred bytes a group. By default 8 with hundreds of groups, 64
    /// with a few.
    pub steps_ahead: Option<u32>,
    /// Each tensor counts its own steps, so that it may be left out of some ([`Clock::skip`]) and start anew
    /// ([`Clock::start_anew`]). Costs the host time for each tensor in a step, not for each group, and the device a set of host
    /// scalars for each; not for rules with rows, columns or device scalars, which tensors share.
    pub own_steps: bool,
    /// Rows of tensors may rest, each as a bit on the device says, for gradients that only some rows have: those of embeddings
    /// that were looked up, or of what was visible.
    pub row_masks: Option<RowMasks>,
    /// What stands around the rule: clipping, skipping, Lookahead, an average of the weights, …
    pub wrappers: Wrappers,
}

/// What the host scalars of rows that may rest follow. A row is what belongs to one index of a tensor's first dimension. One
/// that rests is not decayed, nor moved by its momentum, and its gradient is not zeroed and counts for no norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowMasks {
    /// The steps of the tensor, as in PyTorch's SparseAdam: a row that acts for the first time in a late step is corrected for
    /// the bias of that step.
    TensorSteps,
    /// The steps of the row: each goes on as if it had been alone, and bias corrections are right for it. Two words more for
    /// each row, and a table of host scalars for 65 536 counts for each group; what they are at the last of these stands for all
    /// that follow, and a rule for which that would be wrong is refused.
    RowSteps,
}

/// Everything that a device needs to run steps of one optimizer.
///
/// Made by [`Program::new`]. Serialised, it carries its version and its [hash](Program::hash); what was cut, altered or
/// made by another version is refused when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Program {
    /// [`VERSION`] of the library that made it.
    pub version: u32,
    /// Name of the rule.
    pub optimizer: String,
    /// Begins the label of every object.
    pub label: String,
    /// Labels of the parameter groups, in order.
    pub groups: Vec<String>,
    /// Names of what stands around the rule.
    pub wrappers: Vec<String>,
    /// The buffers: those that the host brings (parameters and gradients), then those to make.
    pub buffers: Vec<Buffer>,
    /// What is bound, in each kind of bind group.
    pub layouts: Vec<Vec<Binding>>,
    /// The compute pipelines.
    pub modules: Vec<Module>,
    /// The bind groups.
    pub bindings: Vec<BindGroup>,
    /// The dispatches of a step, in order; the same in every step.
    pub passes: Vec<Pass>,
    /// Where the host scalars of a step go.
    pub rows: Rows,
    /// The slots of the rule, then those of the wrappers.
    pub slots: Vec<SlotPlace>,
    /// What each window binds beside parameters and gradients.
    pub windows: Vec<WindowPlace>,
    /// The buffer of rows and columns, of factored slots.
    pub factored: Option<u32>,
    /// The buffer of results, terms and device scalars.
    pub scratch: Option<u32>,
    /// Where the rows of tensors that may rest are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_masks: Option<MaskPlaces>,
    /// Of a part of a model ([`Program::part`]), what its host does between passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The tensors, in the order of declaration.
    pub tensors: Vec<TensorPlace>,
    /// Words of the scratch buffer that can be read, by name.
    pub readings: Vec<Reading>,
    /// Bytes that a step reads and writes for each parameter: parameters, gradients and slots, in all passes.
    pub bytes_per_parameter: u64,
    #[serde(with = "check::hex")]
    hash: u64,
}

/// A buffer of a [`Program`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// What it holds.
    pub label: String,
    /// Its size in bytes; of a buffer that the host brings, at least.
    pub size: u64,
    /// What it is used for.
    pub usage: Usage,
    /// What it holds before the first step, where that is not zero.
    pub contents: Vec<Fill>,
}

/// What a buffer is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// The host brings it: a storage buffer of parameters or gradients.
    Given,
    /// A storage buffer that is written by copies and read back.
    Storage,
    /// A uniform buffer that is written by copies.
    Uniform,
}

/// Words of a buffer before the first step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The byte at which they start.
    pub at: u64,
    /// The words.
    pub words: Vec<u32>,
    /// How many times they stand there, one behind the other.
    pub times: u64,
}

/// What stands at one binding of a bind group; their numbers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// A storage buffer that is read.
    ReadOnly,
    /// A storage buffer that is read and written.
    ReadWrite,
    /// The record of the step: a uniform buffer with a dynamic offset, [`NextStep::record`].
    Record,
}

/// A compute pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// What it does.
    pub label: String,
    /// Its text.
    pub wgsl: String,
    /// Its entry point.
    pub entry_point: String,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Index of the layout of its bind group 0.
    pub layout: u32,
}

/// A range of bytes of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// Index of the buffer.
    pub buffer: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A bind group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindGroup {
    /// Index of its layout.
    pub layout: u32,
    /// What is bound, in the order of the layout.
    pub slices: Vec<Slice>,
}

/// A dispatch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Index of its module.
    pub module: u32,
    /// Index of its bind group.
    pub bindings: u32,
    /// Workgroups in x and y.
    pub workgroups: [u32; 2],
}

/// Where the host scalars of a step go; [`Clock`] makes their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The words of one group's rows.
    pub layout: RowLayout,
    /// Rings of rows of what is set, one copy in each window's table.
    pub set: Ring,
    /// Rings of rows of what follows from the number of steps taken, one copy in each window's table.
    pub counted: Ring,
    /// The ring of records of recorded steps.
    pub records: Ring,
    /// A word that counts the steps which the device has taken; its highest bit is set while weights are for evaluation.
    /// None where nothing follows from the count. See [`counts`](Rows::counts).
    pub count: Option<Slice>,
    /// Whether a step may be skipped on the device.
    pub skips: bool,
    /// Whether counted rows are for the counts from 0 on, of which the last stands for all larger ones, and not for the last
    /// so many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// The tensors, where each owns rows and counts its own steps ([`Options::own_steps`]). Empty where groups own the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
}

/// Where the words of rows that may rest are; see `shaders/core/row_masks.wgsl`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskPlaces {
    /// What rows count.
    pub kind: RowMasks,
    /// For each tensor a bit for each of its rows, the lowest of a word first. All are set before the first step; the host sets
    /// and clears them.
    pub masks: Vec<Slice>,
    /// For each tensor the steps of its rows, in two banks; none if rows do not count.
    pub counts: Vec<Slice>,
}

/// A tensor that counts its own steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The group of its configuration.
    pub group: u32,
    /// Where its counts of the steps taken are, all the same; none for a tensor without elements.
    pub counts: Vec<Slice>,
}

/// A ring of places in some buffers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// How many places.
    pub places: u32,
    /// Bytes from a place to the next.
    pub stride: u64,
    /// Where each copy of the ring starts: buffer and byte.
    pub at: Vec<(u32, u64)>,
}

/// A slot and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotPlace {
    /// Its name.
    pub name: String,
    /// What it has one value for.
    pub kind: SlotKind,
    /// Values kept for each parameter: 0, 1, or the length of a ring.
    pub depth: u32,
    /// Which of a window's state buffers, and the place in it, in units of the window's stride.
    pub place: Option<(u32, u32)>,
}

/// The buffers of a window's slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowPlace {
    /// Index of the buffer of the table.
    pub table: u32,
    /// Where the counts of the steps taken are in the table: one word for each invocation.
    pub counts: Slice,
    /// Indices of the state buffers.
    pub state: Vec<u32>,
    /// Elements from a slot to the next in a state buffer.
    pub stride: u64,
}

/// A tensor and where its slots are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorPlace {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Index of its group.
    pub group: u32,
    /// Its elements in order, in the windows that update them.
    pub pieces: Vec<Piece>,
    /// Its rows and its columns in the buffer of factored slots: first element and number.
    pub factored: Option<[(u64, u64); 2]>,
}

/// A part of a tensor in one window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Index of the window.
    pub window: u32,
    /// First element in each slot of that window.
    pub state: u64,
    /// Number of elements.
    pub len: u64,
}

/// Words that can be read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Their name: `grad_norm`, `device_scalars`, `skips`, `loss_scale`.
    pub name: String,
    /// Where they are, one behind the other.
    pub slices: Vec<Slice>,
}
