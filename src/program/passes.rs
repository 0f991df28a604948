//! The kinds of passes over tiles. Each is one entry here and one text in `shaders/core`; everything else (bindings,
//! sizes, the passes that combine terms, readings) follows from what the entry says.

use super::factored::Factored;
use super::step::{Access, OverAll, Step, Wanted};
use super::{WORKGROUP, functions};
use crate::rule::{FieldKind, Scope};

/// A kind of pass over tiles.
#[derive(Debug)]
pub(crate) struct PassKind {
    /// Its name, in labels and listings.
    pub name: &'static str,
    pub entry_point: &'static str,
    /// Whether a step has it. It does not see passes and results.
    pub wanted: fn(&Step<'_>) -> bool,
    pub reach: Reach,
    /// What it adds up.
    pub reduces: fn(&Step<'_>) -> Option<Wanted>,
    pub needs: Needs,
    /// Its text in `shaders/core`.
    pub core: &'static str,
    /// The functions that its text calls and that follow from the step.
    pub generated: fn(&Step<'_>, &PassKind) -> String,
}

/// What a pass runs over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// The tiles of every window.
    Tiles,
    /// So many workgroups in every window, for rows and columns.
    EachWindow(fn(&Factored, usize) -> usize),
    /// So many workgroups once, for rows and columns.
    Once(fn(&Factored) -> usize),
    /// One workgroup once.
    OneWorkgroup,
}

impl Reach {
    /// Invocations of a workgroup.
    pub fn invocations(self, step: &Step<'_>) -> u32 {
        if matches!(self, Reach::Tiles) { step.shape.invocations() } else { WORKGROUP }
    }

    /// How a pass reads a window of this access: those that read no gradients are the same for all.
    pub fn access(self, window: Access) -> Access {
        if matches!(self, Reach::Tiles | Reach::EachWindow(_)) { window } else { Access::Single }
    }
}

/// What a pass's module has beside what every module has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// A group's host scalars.
    pub row: bool,
    /// Parameters, gradients and slots of the elements, so that the rule's functions can run.
    pub elements: bool,
    /// The results of the rule's reductions.
    pub results: bool,
    /// The device scalars.
    pub device: bool,
    /// Whether the step is taken.
    pub taken: bool,
    /// The rule's text and, where it is factored, rows and columns.
    pub rule: bool,
}

const NOTHING: Needs =
    Needs { row: false, elements: false, results: false, device: false, taken: false, rule: false };

impl PassKind {
    /// Whether this is the pass that updates.
    pub fn applies(&self) -> bool {
        self.name == APPLY
    }

    /// Whether it is the first pass of a step that looks at elements: it averages the rows of tensors that are not factored.
    pub fn comes_first(&self, step: &Step<'_>) -> bool {
        step.passes.iter().find(|pass| pass.needs.elements).is_some_and(|first| first.name == self.name)
    }

    /// Whether it looks at elements one by one, so that rows may rest in it.
    pub fn needs_lanes(&self) -> bool {
        matches!(self.reach, Reach::Tiles)
    }

    /// Names of what it loads for each parameter of a matrix. Tensors whose rows and columns lie apart, as those of
    /// convolutions do, have their gradients read once more, and vectors have averages to load and store.
    pub fn loads(&self, step: &Step<'_>) -> Vec<&'static str> {
        let slots = || {
            let streams = step.streams.iter().enumerate();
            let own = step.spec.slots.len();
            // Lookahead's slot is only touched in every k-th step; a pass that only reads does not see it.
            streams
                .filter(move |(index, stream)| {
                    stream.depth > 0 && (*index < own || self.applies() && *index > own)
                })
                .map(|(_, stream)| stream.name)
        };
        match self.reach {
            Reach::Tiles if self.needs.elements => ["theta", "g"].into_iter().chain(slots()).collect(),
            Reach::Tiles => vec!["g"],
            _ if self.name == REDUCE_MATRICES => vec!["g"],
            _ => vec![],
        }
    }

    /// Names of what it stores for each parameter.
    pub fn stores(&self, step: &Step<'_>) -> Vec<&'static str> {
        if !self.applies() {
            return vec![];
        }
        let slots = self.loads(step).into_iter().filter(|name| *name != "g");
        slots.chain(step.wrappers.zero_grad.then_some("g")).collect()
    }
}

/// Name of the pass that reduces the gradients, for clipping and skipping.
pub(crate) const REDUCE_GRADIENTS: &str = "reduce gradients";
/// Name of the pass that adds up the rows and columns of matrices.
const REDUCE_MATRICES: &str = "reduce matrices";
/// Name of the pass that reduces what the rule wants.
pub(crate) const REDUCE_RULE: &str = "reduce rule";
/// Name of the pass that counts the elements whose step agrees with their gradient.
pub(crate) const REDUCE_AGREEMENT: &str = "reduce agreement";
/// Name of the pass that updates.
pub(crate) const APPLY: &str = "apply";

const REDUCE: &str = include_str!("../../shaders/core/reduce.wgsl");

/// Every kind of pass over tiles, in the order of a step.
pub(crate) static PASSES: &[PassKind] = &[
    PassKind {
        name: REDUCE_GRADIENTS,
        entry_point: "optimizer_reduce",
        wanted: |step| step.wrappers.reduces_gradients(),
        reach: Reach::Tiles,
        reduces: |step| {
            let of_tensors = step.wrappers.max_tensor_norm.is_some();
            Some(Wanted { kinds: vec![FieldKind::Norm], over_all: Some(OverAll::Header), of_tensors })
        },
        needs: NOTHING,
        core: REDUCE,
        generated: functions::reduce_gradients,
    },
    PassKind {
        name: REDUCE_MATRICES,
        entry_point: "optimizer_reduce",
        wanted: |step| step.spec.is_factored(),
        reach: Reach::EachWindow(Factored::block_workgroups),
        reduces: |_| None,
        needs: Needs { row: true, rule: true, ..NOTHING },
        core: include_str!("../../shaders/core/reduce_matrices.wgsl"),
        generated: functions::as_seen,
    },
    PassKind {
        name: "reduce rows and columns",
        entry_point: "optimizer_reduce",
        wanted: |step| step.spec.is_factored(),
        reach: Reach::EachWindow(Factored::reducing_workgroups),
        reduces: |_| None,
        needs: Needs { row: true, rule: true, ..NOTHING },
        core: include_str!("../../shaders/core/reduce_factored.wgsl"),
        generated: functions::as_seen,
    },
    PassKind {
        name: "average rows and columns",
        entry_point: "optimizer_average",
        wanted: |step| step.spec.is_factored(),
        reach: Reach::Once(Factored::averaging_workgroups),
        reduces: |_| None,
        needs: Needs { row: true, taken: true, rule: true, ..NOTHING },
        core: include_str!("../../shaders/core/average_factored.wgsl"),
        generated: |_, _| String::new(),
    },
    PassKind {
        name: "average matrices",
        entry_point: "optimizer_average",
        wanted: |step| step.spec.is_factored(),
        reach: Reach::Once(Factored::matrix_workgroups),
        reduces: |_| None,
        needs: Needs { rule: true, ..NOTHING },
        core: include_str!("../../shaders/core/average_matrices.wgsl"),
        generated: |_, _| String::new(),
    },
    PassKind {
        name: REDUCE_RULE,
        entry_point: "optimizer_reduce",
        wanted: |step| step.results().next().is_some(),
        reach: Reach::Tiles,
        reduces: |step| {
            let over_all = step.spec.scope == Scope::All;
            let kinds = step.results().map(|field| field.kind).collect();
            Some(Wanted { kinds, over_all: over_all.then_some(OverAll::Own), of_tensors: !over_all })
        },
        needs: Needs { row: true, elements: true, device: true, taken: true, rule: true, ..NOTHING },
        core: REDUCE,
        generated: functions::reduce_rule,
    },
    PassKind {
        name: "device scalars",
        entry_point: "optimizer_device_scalars",
        wanted: |step| step.has_device_scalars(),
        reach: Reach::OneWorkgroup,
        reduces: |_| None,
        needs: Needs { row: true, results: true, device: true, taken: true, rule: true, ..NOTHING },
        core: include_str!("../../shaders/core/device_scalars.wgsl"),
        generated: functions::device_scalars,
    },
    PassKind {
        name: REDUCE_AGREEMENT,
        entry_point: "optimizer_reduce",
        wanted: |step| step.wrappers.cautious,
        reach: Reach::Tiles,
        reduces: |_| Some(Wanted { kinds: vec![FieldKind::Sum; 2], over_all: None, of_tensors: true }),
        needs: Needs { row: true, elements: true, results: true, device: true, taken: true, rule: true },
        core: REDUCE,
        generated: functions::reduce_agreement,
    },
    PassKind {
        name: APPLY,
        entry_point: "optimizer_step",
        wanted: |_| true,
        reach: Reach::Tiles,
        reduces: |_| None,
        needs: Needs { row: true, elements: true, results: true, device: true, taken: true, rule: true },
        core: include_str!("../../shaders/core/apply.wgsl"),
        generated: functions::apply,
    },
];
