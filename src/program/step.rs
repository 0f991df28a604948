//! A step, resolved once from a rule, what stands around it and a device's limits: its streams (what is loaded and stored),
//! its host scalars, what its reductions leave, and its passes. Text, bindings, sizes and readings are read off it.

use super::limits::{Limits, need};
use super::passes::{PASSES, PassKind};
use super::rows::RowLayout;
use super::{COMBINE_WIDTH, ELEMENT, Options, RowMasks, Shape, WORKGROUP};
use crate::error::Error;
use crate::rule::{
    Config, DynRule, FieldKind, MAX_DEVICE_SCALARS, MAX_RESULTS, MAX_SLOTS, Scope, SlotKind, Spec, depths_of,
};
use crate::wrappers::{WRAPPER_SLOTS, Wrappers};

/// How a window's parameters and gradients are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// As vec4: tiles start at multiples of four elements.
    Vec4,
    /// One by one: any four-byte aligned range.
    Single,
}

/// A slot of the rule or of a wrapper, and where its values live.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stream {
    pub name: &'static str,
    pub kind: SlotKind,
    /// Values kept for each parameter: 0, 1, or the length of a ring.
    pub depth: u32,
    /// The state buffer and the place in it, in units of the slot stride; of what is kept for each parameter.
    pub place: Option<(usize, u32)>,
}

/// What a pass adds up, before it has a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// One for each result: a norm, a largest magnitude or a sum.
    pub kinds: Vec<FieldKind>,
    /// Where the result over all tensors goes, if there is one.
    pub over_all: Option<OverAll>,
    /// Whether each tensor has a result.
    pub of_tensors: bool,
}

/// Where a result over all tensors goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverAll {
    /// To the start of the scratch buffer's header: the norm of all gradients.
    Header,
    /// To a vec4 of its own behind the header.
    Own,
}

/// A reduction of a step: what it adds up, and the vec4 of the scratch buffer where its results go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reduction {
    /// Name of the pass.
    pub pass: &'static str,
    /// One for each result.
    pub kinds: Vec<FieldKind>,
    /// The vec4 of the results over all tensors.
    pub all: Option<usize>,
    /// The vec4 of the first tensor's results.
    pub tensor: Option<usize>,
}

/// Bindings in the passes over windows.
pub(crate) mod bindings {
    pub const TABLE: u32 = 0;
    pub const PARAMS: u32 = 1;
    pub const GRADS: u32 = 2;
    pub const RECORD: u32 = 3;
    pub const SCRATCH: u32 = 4;
    /// Bindings before the scratch buffer, of which all but the record are storage buffers.
    pub const FIXED: u32 = 4;
}

/// The vec4 at the start of the scratch buffer that belong to every step; see `shaders/core/scratch.wgsl`.
pub(crate) const SCRATCH_HEADER: usize = 3;

/// A resolved step.
#[derive(Debug, Clone)]
pub(crate) struct Step<'a> {
    pub spec: &'static Spec,
    /// The rule's text, or what an option puts in its place.
    pub wgsl: &'a str,
    pub wrappers: Wrappers,
    /// Whether each tensor has rows and counts of its own, not each group.
    pub own_steps: bool,
    /// Whether rows of a tensor may rest, and what they count.
    pub row_masks: Option<RowMasks>,
    /// Whether gradients are bound to write: they are zeroed, or some lie in the buffer of their parameters.
    pub writes_grads: bool,
    pub shape: Shape,
    /// Whether an invocation may take more than one vec4 of a tile.
    pub loops: bool,
    /// Small tiles that share a workgroup.
    pub packed: u32,
    /// Whether some tensor has rows of fewer than three elements, where rows may rest.
    pub narrow: bool,
    /// Whether some tensor has rows and columns of which four neighbours are not side by side.
    pub apart: bool,
    /// Whether four neighbours of some tensor may be in more than two rows, or in several matrices.
    pub mixed: bool,
    /// Whether some block of a matrix is cut into windows.
    pub cut: bool,
    /// Whether some tensor has rows and no columns.
    pub vectors: bool,
    /// How many times the invocations of a block of a matrix take some of its rows, at most.
    pub turns: usize,
    /// The rule's slots, then the wrappers'.
    pub streams: Vec<Stream>,
    /// Storage buffers that the slots are dealt to.
    pub state_buffers: usize,
    /// Whether some group needs the results of the rule's reductions.
    pub reduces: bool,
    pub rows: RowLayout,
    /// In the order of the passes.
    pub reductions: Vec<Reduction>,
    /// Vec4 of results for each tensor.
    pub results_of_tensor: usize,
    /// The passes over tiles, in order.
    pub passes: Vec<&'static PassKind>,
}

impl<'a> Step<'a> {
    /// The step of some groups under a device's limits.
    ///
    /// # Errors
    /// [`Error::Limit`] of a device that is too small, [`Error::Rule`] of a rule that asks for too much.
    pub fn resolve(
        rule: &'a dyn DynRule,
        groups: &[impl Config],
        options: &'a Options,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let spec = rule.spec();
        let mut depths = [0; MAX_SLOTS];
        for group in groups {
            for (depth, needs) in depths.iter_mut().zip(depths_of(group.rule())) {
                *depth = needs.max(*depth);
            }
        }
        let own = spec.slots.iter().zip(depths).map(|(slot, depth)| (slot.name, slot.kind, depth));
        let around = WRAPPER_SLOTS.into_iter().zip(options.wrappers.depths());
        let around = around.map(|(name, depth)| (name, SlotKind::Element, depth));
        let streams = own.chain(around).map(|(name, kind, depth)| Stream { name, kind, depth, place: None });
        let mut step = Self {
            spec,
            wgsl: options.wgsl.as_deref().unwrap_or(spec.wgsl),
            wrappers: options.wrappers,
            own_steps: options.own_steps,
            row_masks: options.row_masks,
            writes_grads: options.wrappers.zero_grad,
            shape: options.shape.unwrap_or_else(|| Shape::for_device(limits)).check()?,
            loops: true,
            packed: 8,
            narrow: true,
            apart: true,
            mixed: true,
            cut: true,
            vectors: true,
            turns: 0,
            streams: streams.collect(),
            state_buffers: 0,
            reduces: groups.iter().any(|group| group.rule().reduces()),
            rows: RowLayout::default(),
            reductions: vec![],
            results_of_tensor: 0,
            passes: vec![],
        };
        step.check_rule()?;
        step.rows = RowLayout::new(&step);
        step.passes = PASSES.iter().filter(|pass| (pass.wanted)(&step)).collect();
        step.place_results();
        step.place_slots(options.state_buffers, limits)?;
        Ok(step)
    }

    /// Refuses a rule that has more results or device scalars than there is room for.
    fn check_rule(&self) -> Result<(), Error> {
        let refused = |reason| Err(Error::Rule { rule: self.spec.name.into(), reason });
        let results = self.results().count();
        if results > MAX_RESULTS {
            return refused(format!("it has {results} results of reductions, more than {MAX_RESULTS}"));
        }
        let scalars = self.spec.device_scalars().count();
        if scalars > MAX_DEVICE_SCALARS || scalars > 0 && self.spec.scope != Scope::All {
            let limit = format!("at most {MAX_DEVICE_SCALARS}, and with Scope::All");
            return refused(format!("it has {scalars} device scalars; {limit}"));
        }
        if self.own_steps && (scalars > 0 || self.spec.is_factored()) {
            let shared = if scalars > 0 { "device scalars" } else { "averages of rows and columns" };
            return refused(format!(
                "its {shared} follow one count of steps; it cannot have `own_steps` of each tensor"
            ));
        }
        self.check_row_masks()
    }

    /// Gives the results of the passes their places: over all tensors, then side by side for each tensor.
    fn place_results(&mut self) {
        let wanted: Vec<(&'static str, Wanted)> =
            self.passes.iter().filter_map(|pass| Some((pass.name, (pass.reduces)(self)?))).collect();
        let mut next = SCRATCH_HEADER + usize::from(self.has_device_scalars());
        let mut of_tensor = 0;
        for (pass, wanted) in wanted {
            let all = wanted.over_all.map(|place| if place == OverAll::Header { 0 } else { next });
            next += usize::from(wanted.over_all == Some(OverAll::Own));
            let tensor = wanted.of_tensors.then_some(of_tensor);
            of_tensor += usize::from(wanted.of_tensors);
            self.reductions.push(Reduction { pass, kinds: wanted.kinds, all, tensor });
        }
        for reduction in &mut self.reductions {
            reduction.tensor = reduction.tensor.map(|at| next + at);
        }
        self.results_of_tensor = of_tensor;
    }

    /// Deals the slots that are kept round robin to as many storage buffers as there may be.
    fn place_slots(&mut self, most: Option<usize>, limits: &Limits) -> Result<(), Error> {
        let kept = self.streams.iter().filter(|stream| stream.depth > 0).count();
        // All bindings but the record of the step are storage buffers.
        let others = bindings::FIXED - 1
            + u32::from(self.has_scratch())
            + u32::from(self.spec.is_factored())
            + u32::from(self.row_masks.is_some());
        let available = limits.max_storage_buffers_per_shader_stage;
        need(
            self.spec.name,
            "storage buffers (table, parameters, gradients, norms, slots)",
            (others + u32::from(kept > 0)).into(),
            "max_storage_buffers_per_shader_stage",
            available.into(),
        )?;
        // The terms of many tiles are combined by more invocations than one tile has.
        let own = self.shape.invocations().max(WORKGROUP);
        let width = if self.has_scratch() { own.max(COMBINE_WIDTH) } else { own };
        for (name, limit) in [
            ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x),
        ] {
            need(self.spec.name, "invocations a workgroup", width.into(), name, limit.into())?;
        }
        let most = most.map_or(usize::MAX, |most| most.max(1));
        self.state_buffers = kept.min((available - others) as usize).min(most);
        let mut used = vec![0; self.state_buffers];
        let existing = self.streams.iter_mut().filter(|stream| stream.depth > 0);
        for (next, stream) in existing.enumerate() {
            let buffer = next % self.state_buffers;
            stream.place = Some((buffer, used[buffer]));
            used[buffer] += stream.depth;
        }
        Ok(())
    }

    /// The rule's fields that are results of reductions here.
    pub fn results(&self) -> impl Iterator<Item = &'static crate::rule::Field> + use<> {
        let reduces = self.reduces;
        self.spec.results().filter(move |_| reduces)
    }

    pub fn has_device_scalars(&self) -> bool {
        self.spec.device_scalars().next().is_some()
    }

    /// Whether there is a scratch buffer: for results, terms and device scalars.
    pub fn has_scratch(&self) -> bool {
        self.has_device_scalars() || !self.reductions.is_empty()
    }

    pub fn reduction(&self, pass: &str) -> Option<&Reduction> {
        self.reductions.iter().find(|reduction| reduction.pass == pass)
    }

    /// Vec4 of the scratch buffer before the terms of tiles.
    pub fn first_term(&self, tensors: usize) -> usize {
        let over_all = self.reductions.iter().filter(|reduction| reduction.all.is_some_and(|all| all > 0));
        let first = SCRATCH_HEADER + usize::from(self.has_device_scalars()) + over_all.count();
        first + tensors * self.results_of_tensor
    }

    /// Terms of a tile, in the widest of the reductions.
    pub fn terms(&self) -> usize {
        self.reductions.iter().map(|reduction| reduction.kinds.len()).max().unwrap_or(0)
    }

    /// Whether some slot is a ring.
    pub fn has_ring(&self) -> bool {
        self.streams.iter().any(|stream| stream.depth > 1)
    }

    /// The streams in a state buffer, in their order there.
    pub fn streams_in(&self, buffer: usize) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |stream| stream.place.is_some_and(|(at, _)| at == buffer))
    }

    /// Values in a state buffer, for each parameter.
    pub fn depth_of(&self, buffer: usize) -> u32 {
        self.streams_in(buffer).map(|stream| stream.depth).sum()
    }

    /// Binding of the first state buffer.
    pub fn first_state_binding(&self) -> u32 {
        bindings::FIXED + u32::from(self.has_scratch())
    }

    /// Binding of the rows and columns, where there are some: after the state buffers.
    pub fn factored_binding(&self) -> u32 {
        self.first_state_binding() + self.state_buffers as u32
    }

    /// Binding of the masks and counts of rows, where there are some. Rules with rows and columns of their own have none.
    pub fn row_words_binding(&self) -> u32 {
        self.factored_binding()
    }

    /// Whether some wrapper's slot starts with the first step, of rows that rest too.
    pub fn starts(&self) -> bool {
        self.streams[self.spec.slots.len()..].iter().any(|stream| stream.depth > 0)
    }

    /// Whether rows of tensors count their own steps.
    pub fn rows_count(&self) -> bool {
        self.row_masks == Some(RowMasks::RowSteps)
    }

    /// Bytes that a step reads and writes for each parameter: parameters, gradients and slots, in all passes. Rows,
    /// columns and terms, which are few, are left out.
    pub fn bytes_per_parameter(&self) -> u64 {
        self.passes.iter().map(|pass| pass.loads(self).len() + pass.stores(self).len()).sum::<usize>() as u64
            * ELEMENT
    }
}
