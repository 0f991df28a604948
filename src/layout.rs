//! Where everything of a rule lives on the device: slots in their buffers, results in the scratch buffer, words in
//! a row; and which dispatches its steps take.

use crate::rule::{Field, FieldKind, Method, Scope, SlotKind, carried_fields};
use crate::wrappers::Wrappers;

/// Invocations of a workgroup, as `WORKGROUP` in `shaders/frame.wgsl`. Every wave size divides it, and on
/// software adapters, which start each invocation in turn, a small one makes small tiles cheap.
pub const WORKGROUP: u32 = 64;
/// Bindings before the slots: table, parameters, gradients, the record of the step (a uniform); then the scratch
/// buffer where there is one.
pub const FIXED_BINDINGS: u32 = 4;
/// Of these, storage buffers.
pub const FIXED_STORAGE: u32 = 3;
/// Binding of the record of the step in the modules over windows.
pub const NOW_BINDING: u32 = 3;
/// Fields that one rule may measure.
pub const MAX_MEASURED: usize = 4;
/// Vec4 at the start of the scratch buffer, before what is carried and measured; see `shaders/scratch.wgsl`.
pub(crate) const SCRATCH_HEADER: usize = 3;

/// What a module does; each kind is a dispatch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Updates.
    Apply,
    /// Sums the squares of the gradients, for clipping.
    MeasureGradients,
    /// Adds up what the rule measures.
    MeasureRule,
    /// Gives what is carried from step to step its new values. One invocation, once for all windows.
    Carry,
    /// Counts the elements whose step agrees with their gradient.
    MeasureAgreement,
    /// Adds up rows and columns.
    MeasureLines,
    /// Averages rows and columns. Once for all windows.
    AverageLines,
    /// Finds the mean of each matrix's rows. Once for all windows.
    AverageMatrices,
}

impl Kind {
    /// Name of the entry point.
    pub fn entry_point(self) -> &'static str {
        match self {
            Kind::Apply => "optimizer_step",
            Kind::AverageLines | Kind::AverageMatrices => "optimizer_average",
            Kind::Carry => "optimizer_carry",
            _ => "optimizer_measure",
        }
    }

    /// How the module reads a window of this access: those about rows and columns read one by one.
    pub fn access(self, window: Access) -> Access {
        match self {
            Kind::MeasureLines | Kind::AverageLines | Kind::AverageMatrices => Access::Single,
            _ => window,
        }
    }

    /// Whether the rule's own update, and so its slots, are part of the module.
    pub(crate) fn sees_slots(self) -> bool {
        matches!(self, Kind::Apply | Kind::MeasureRule | Kind::MeasureAgreement)
    }
}

/// How a window's parameters and gradients are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// As vec4: tiles start at multiples of four elements.
    Quad,
    /// One by one: any four-byte aligned range.
    Single,
}

/// Where the slots live: `depths[i]` values of slot `i` (the rule's slots, then the wrappers'), and the
/// existing ones are dealt round robin to `buffers` storage buffers (fewer than slots where the device
/// has few bindings).
#[derive(Debug, Clone, PartialEq)]
pub struct SlotLayout {
    /// Values kept of each slot: 0, 1, or the length of a ring.
    pub depths: Vec<u32>,
    /// Number of state buffers.
    pub buffers: usize,
    /// What stands around the rule.
    pub wrappers: Wrappers,
    /// Whether some group measures; see [`Rule::measures`](crate::Rule::measures).
    pub measures: bool,
}

impl SlotLayout {
    /// The state buffer of slot `slot` and its place in that buffer, in units of the slot stride.
    pub fn place(&self, slot: usize) -> Option<(usize, u32)> {
        let mut used = vec![0; self.buffers];
        let existing = self.depths.iter().enumerate().filter(|(_, depth)| **depth > 0);
        for (next, (index, depth)) in existing.enumerate() {
            let buffer = next % self.buffers;
            if index == slot {
                return Some((buffer, used[buffer]));
            }
            used[buffer] += depth;
        }
        None
    }

    /// Existing slots.
    pub fn count(&self) -> usize {
        self.depths.iter().filter(|depth| **depth > 0).count()
    }

    /// The slots in state buffer `buffer`.
    pub fn slots_in(&self, buffer: usize) -> impl Iterator<Item = usize> {
        (0..self.depths.len()).filter(move |slot| self.place(*slot).is_some_and(|(at, _)| at == buffer))
    }

    /// Values in state buffer `buffer`, for each parameter.
    pub fn depth_of(&self, buffer: usize) -> u32 {
        self.slots_in(buffer).map(|slot| self.depths[slot]).sum()
    }

    /// Values kept of all slots, for each parameter.
    pub fn total(&self) -> u32 {
        self.depths.iter().sum()
    }

    /// Whether some slots are of rows and columns.
    pub fn has_lines(&self, method: &dyn Method) -> bool {
        method.slot_kinds().iter().any(|kind| *kind != SlotKind::Element)
    }

    /// Binding of the buffer of lines, where there is one: after the state buffers.
    pub fn lines_binding(&self, method: &dyn Method) -> u32 {
        self.first_state_binding(method) + self.buffers as u32
    }

    /// Whether anything stands around the rule.
    pub fn is_wrapped(&self) -> bool {
        self.wrappers != Wrappers::default()
    }

    /// Whether some slot is a ring.
    pub fn has_ring(&self, method: &dyn Method) -> bool {
        self.depths[..method.slots().len()].iter().any(|depth| *depth > 1)
    }

    /// Whether there is a scratch buffer: for what is measured and carried.
    pub fn has_scratch(&self, method: &dyn Method) -> bool {
        let measures = self.wrappers.measures_gradients() || self.wrappers.cautious;
        measures || carries(method) || self.measured(method).next().is_some()
    }

    /// The fields that the rule measures here.
    pub fn measured<'a>(&self, method: &'a dyn Method) -> impl Iterator<Item = &'a Field> + use<'a> {
        let measures = self.measures;
        method.fields().iter().filter(move |field| measures && field.kind.is_measured())
    }

    /// The dispatches of a step before the one that applies, in order, without those that combine.
    pub fn measuring(&self, method: &dyn Method) -> Vec<Kind> {
        let wanted = [
            (Kind::MeasureGradients, self.wrappers.measures_gradients()),
            (Kind::MeasureLines, self.has_lines(method)),
            (Kind::AverageLines, self.has_lines(method)),
            (Kind::AverageMatrices, self.has_lines(method)),
            (Kind::MeasureRule, self.measured(method).next().is_some()),
            (Kind::Carry, carries(method)),
            (Kind::MeasureAgreement, self.wrappers.cautious),
        ];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(kind, _)| kind).collect()
    }

    /// What a measuring dispatch finds.
    pub(crate) fn quantities(&self, method: &dyn Method, kind: Kind) -> Vec<FieldKind> {
        match kind {
            Kind::Apply | Kind::MeasureLines | Kind::AverageLines | Kind::AverageMatrices | Kind::Carry => {
                vec![]
            }
            Kind::MeasureGradients => vec![FieldKind::Norm],
            Kind::MeasureRule => self.measured(method).map(|field| field.kind).collect(),
            Kind::MeasureAgreement => vec![FieldKind::Sum; 2],
        }
    }

    /// Where in the scratch buffer the result of a measuring dispatch over everything, or over tensor 0, is.
    pub(crate) fn result(&self, method: &dyn Method, kind: Kind) -> usize {
        let over_all = self.over_all(method);
        let first = SCRATCH_HEADER + usize::from(carries(method));
        if kind == Kind::MeasureRule && over_all {
            return first;
        }
        let before = [
            (Kind::MeasureGradients, self.wrappers.max_tensor_norm.is_some()),
            (Kind::MeasureRule, !over_all && self.measured(method).next().is_some()),
        ];
        let before = before.iter().take_while(|(other, _)| *other != kind).filter(|(_, wanted)| *wanted);
        first + usize::from(over_all) + before.count()
    }

    /// Vec4 of results for each tensor.
    pub(crate) fn results_of_tensor(&self, method: &dyn Method) -> usize {
        let wanted = [
            self.wrappers.max_tensor_norm.is_some(),
            !self.over_all(method) && self.measured(method).next().is_some(),
            self.wrappers.cautious,
        ];
        wanted.into_iter().filter(|wanted| *wanted).count()
    }

    /// Vec4 of the scratch buffer before the partial sums.
    pub(crate) fn results(&self, method: &dyn Method, tensors: usize) -> usize {
        let first = SCRATCH_HEADER + usize::from(carries(method));
        first + usize::from(self.over_all(method)) + tensors * self.results_of_tensor(method)
    }

    /// Whether the rule measures one value over all tensors.
    fn over_all(&self, method: &dyn Method) -> bool {
        method.scope() == Scope::All && self.measured(method).next().is_some()
    }

    /// Binding of the first state buffer.
    pub fn first_state_binding(&self, method: &dyn Method) -> u32 {
        FIXED_BINDINGS + u32::from(self.has_scratch(method))
    }
}

/// Whether a rule carries scalars from step to step on the device: in one vec4 behind the scratch buffer's header.
pub fn carries(method: &dyn Method) -> bool {
    carried_fields(method.fields()) > 0
}

/// How many fields a configuration measures.
pub fn measured_fields(method: &dyn Method) -> usize {
    if method.measures() {
        method.fields().iter().filter(|field| field.kind.is_measured()).count()
    } else {
        0
    }
}

/// Where a field of `Hyper` is: in which of a group's rows, at which word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the row of what is set.
    Now(usize),
    /// In the row of what follows from the number of steps taken.
    Counted(usize),
    /// Nowhere: the device finds it.
    Device,
}

/// The words of a group's two rows in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// For each field of `Hyper` its place, in order.
    pub places: Vec<Place>,
    /// The word of the row of what is set that holds the length of the group's rings, where there are rings.
    pub ring: Option<usize>,
    /// The word of that row which is 1 where weights are wanted for evaluation, of a rule that converts them.
    pub evaluates: Option<usize>,
    now: usize,
    counted: usize,
}

impl Rows {
    /// The rows of a rule in a layout.
    pub fn new(method: &dyn Method, layout: &SlotLayout) -> Self {
        let (mut now, mut counted) = (0, 0);
        let next = |words: &mut usize| {
            *words += 1;
            *words - 1
        };
        let mut place = |kind: FieldKind| match kind {
            kind if kind.is_of_now() => Place::Now(next(&mut now)),
            kind if kind.is_counted() => Place::Counted(next(&mut counted)),
            _ => Place::Device,
        };
        let places = method.fields().iter().map(|field| place(field.kind)).collect();
        let ring = layout.has_ring(method).then(|| next(&mut now));
        let evaluates = method.converts().then(|| next(&mut now));
        Self { places, ring, evaluates, now, counted }
    }

    /// Vec4 of a group's row of what is set; at least one.
    pub fn now_quads(&self) -> usize {
        self.now.div_ceil(4).max(1)
    }

    /// Vec4 of a group's row of what follows from the number of steps taken; none where nothing does.
    pub fn counted_quads(&self) -> usize {
        self.counted.div_ceil(4)
    }
}
