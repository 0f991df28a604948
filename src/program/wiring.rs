//! The modules, bind groups and passes of a program: each pass over tiles, and behind it the one that combines its terms.

use super::assemble::Assembly;
use super::contents::fill;
use super::passes::{PassKind, Reach};
use super::record::RECORD_BYTES;
use super::step::{Access, Reduction, bindings};
use super::text::{self, COMBINE, COMBINE_ENTRY_POINT};
use super::windows::{self, Window};
use super::{
    BindGroup, Binding, COMBINE_WIDTH, ELEMENT, Exchange, Module, Pass, Program, Slice, Usage, VEC4,
    WindowPlace,
};
use crate::rule::{Config, FieldKind};
use std::collections::HashMap;

/// Tiles whose terms one invocation adds up; more take a workgroup.
const FEW_TILES: usize = 16;

/// The terms of a segment: the vec4 of its first, its tiles, the place of its result, and whether it is everything.
struct Segment {
    first: usize,
    tiles: usize,
    result: usize,
    all: bool,
}

impl<C: Config> Assembly<'_, C> {
    /// Modules, bindings and passes: each pass over tiles, and behind it the one that combines its terms.
    pub(super) fn add_passes(&self, program: &mut Program, records: u32) {
        program.layouts.push(self.window_layout());
        program.bindings = self.window_bindings(program, records);
        let mut modules: HashMap<(&str, Access), u32> = HashMap::new();
        let mut combine = None;
        for kind in &self.step.passes {
            for (window, workgroups) in self.dispatches(kind) {
                let access = kind.reach.access(self.plan.windows[window].access);
                let module = *modules.entry((kind.name, access)).or_insert_with(|| {
                    program.modules.push(Module {
                        label: format!("{}: {}", self.label, kind.name),
                        wgsl: text::module(&self.step, kind, access),
                        entry_point: kind.entry_point.into(),
                        invocations: kind.reach.invocations(&self.step),
                        layout: 0,
                    });
                    program.modules.len() as u32 - 1
                });
                program.passes.push(Pass { module, bindings: window as u32, workgroups });
            }
            if let (Some(reduction), Some(scratch)) = (self.step.reduction(kind.name), program.scratch) {
                let module = *combine.get_or_insert_with(|| self.combine_module(program));
                self.add_combine(program, module, reduction, scratch, records);
            }
        }
    }

    /// The windows and the workgroups of a pass.
    fn dispatches(&self, kind: &PassKind) -> Vec<(usize, [u32; 2])> {
        let fold = |workgroups: usize| self.fold(workgroups);
        let windows = self.plan.windows.iter().enumerate();
        match (kind.reach, &self.factored) {
            (Reach::Tiles, _) => windows.map(|(index, window)| (index, window.grid.into())).collect(),
            (Reach::EachWindow(count), Some(factored)) => {
                windows.map(|(index, _)| (index, fold(count(factored, index)))).collect()
            }
            (Reach::Once(count), Some(factored)) => vec![(0, fold(count(factored)))],
            (Reach::OneWorkgroup, _) => vec![(0, [1, 1])],
            (_, None) => vec![],
        }
        .into_iter()
        .filter(|(_, workgroups): &(usize, [u32; 2])| !workgroups.contains(&0))
        .collect()
    }

    fn fold(&self, workgroups: usize) -> [u32; 2] {
        windows::fold(workgroups as u64, self.limits.max_compute_workgroups_per_dimension).into()
    }

    /// One layout for every pass over a window, so that they share a bind group.
    fn window_layout(&self) -> Vec<Binding> {
        let count = self.step.factored_binding()
            + u32::from(self.step.spec.is_factored())
            + u32::from(self.step.row_masks.is_some());
        let kind = |binding: u32| match binding {
            bindings::RECORD => Binding::Record,
            bindings::GRADS if !self.step.writes_grads => Binding::ReadOnly,
            _ => Binding::ReadWrite,
        };
        (0..count).map(kind).collect()
    }

    fn window_bindings(&self, program: &Program, records: u32) -> Vec<BindGroup> {
        let whole = |buffer: u32| Slice { buffer, offset: 0, size: program.buffers[buffer as usize].size };
        let group = |(window, place): (&Window, &WindowPlace)| {
            let pair = self.tensors.pairs()[window.block];
            let part = |buffer: usize, range: &std::ops::Range<u64>| Slice {
                buffer: buffer as u32,
                offset: range.start,
                size: range.end - range.start,
            };
            let mut slices = vec![Slice { buffer: 0, offset: 0, size: 0 }; bindings::FIXED as usize];
            slices[bindings::TABLE as usize] = whole(place.table);
            slices[bindings::PARAMS as usize] = part(pair.param, &window.param);
            slices[bindings::GRADS as usize] = part(pair.grad, &window.grad);
            slices[bindings::RECORD as usize] = record(records);
            // The scratch buffer is the first behind the fixed ones.
            debug_assert!(program.scratch.is_none() || bindings::SCRATCH == bindings::FIXED);
            slices.extend(program.scratch.map(whole));
            slices.extend(place.state.iter().map(|buffer| whole(*buffer)));
            slices.extend(program.factored.map(whole));
            let row_words = program.row_masks.as_ref().and_then(|places| places.masks.first());
            slices.extend(row_words.map(|mask| whole(mask.buffer)));
            BindGroup { layout: 0, slices }
        };
        self.plan.windows.iter().zip(&program.windows).map(group).collect()
    }

    fn combine_module(&self, program: &mut Program) -> u32 {
        program.layouts.push(vec![Binding::ReadOnly, Binding::ReadWrite, Binding::Record]);
        program.modules.push(Module {
            label: format!("{}: combine", self.label),
            wgsl: COMBINE.into(),
            entry_point: COMBINE_ENTRY_POINT.into(),
            invocations: COMBINE_WIDTH,
            layout: program.layouts.len() as u32 - 1,
        });
        program.modules.len() as u32 - 1
    }

    /// What the results of a reduction are taken over.
    fn segments(&self, reduction: &Reduction) -> Vec<Segment> {
        // The terms of a tile are neighbours.
        let terms = reduction.kinds.len();
        let (first, tiles) = match &self.whole {
            None => (self.first_term(), self.tiles()),
            Some(_) => (self.first_term_of_whole(), self.tiles_of_whole()),
        };
        let all = reduction.all.map(|result| Segment { first, tiles, result, all: true });
        let mut segments: Vec<Segment> = all.into_iter().collect();
        let Some(first_result) = reduction.tensor else { return segments };
        // Without merging, a tensor's tiles are neighbours, also from one window to the next.
        let mut of_tensor: Option<u32> = None;
        for (index, tile) in self.plan.windows.iter().flat_map(|window| &window.tiles).enumerate() {
            match segments.last_mut() {
                Some(segment) if of_tensor == Some(tile.tensor) => segment.tiles += 1,
                _ => {
                    let result = first_result + tile.tensor as usize * self.step.results_of_tensor;
                    let first = self.first_term() + index * terms;
                    segments.push(Segment { first, tiles: 1, result, all: false });
                    of_tensor = Some(tile.tensor);
                }
            }
        }
        segments
    }

    /// The pass that combines a reduction's terms; see `shaders/core/combine.wgsl`.
    fn add_combine(
        &self,
        program: &mut Program,
        module: u32,
        reduction: &Reduction,
        scratch: u32,
        records: u32,
    ) {
        let terms = reduction.kinds.len();
        let segments = self.segments(reduction);
        // Each of the first takes a workgroup, of the others an invocation.
        let (many, few): (Vec<&Segment>, Vec<&Segment>) =
            segments.iter().partition(|segment| segment.tiles > FEW_TILES);
        let code = |kind: &FieldKind| match kind {
            FieldKind::Max => 1,
            FieldKind::Sum => 2,
            _ => 0,
        };
        let codes: u32 = (0..).zip(&reduction.kinds).map(|(i, kind): (u32, _)| code(kind) << (2 * i)).sum();
        let gradients = reduction.all == Some(0);
        let header = [
            [many.len() as u32, terms as u32, few.len() as u32, codes],
            [gradients.into(), 0, self.step.wrappers.skips().into(), 0],
        ];
        let row = |segment: &&Segment| {
            [segment.first as u32, segment.tiles as u32, segment.result as u32, segment.all.into()]
        };
        let words = header.into_iter().chain(many.iter().chain(&few).map(row)).flatten().collect();
        let contents = fill(0, words);
        let size = contents.words.len() as u64 * ELEMENT;
        program.buffers.push(self.buffer("segments", size, Usage::Storage, vec![contents]));
        let table = program.buffers.len() as u32 - 1;
        let whole = |buffer: u32| Slice { buffer, offset: 0, size: program.buffers[buffer as usize].size };
        let slices = vec![whole(table), whole(scratch), record(records)];
        let layout = program.modules[module as usize].layout;
        program.bindings.push(BindGroup { layout, slices });
        if let Some(part) = program.part.as_mut().filter(|_| reduction.all.is_some()) {
            let bytes = terms as u64 * VEC4;
            let terms_from = |first: usize, tiles: usize| Slice {
                buffer: scratch,
                offset: first as u64 * VEC4,
                size: tiles as u64 * bytes,
            };
            part.exchanges.push(Exchange {
                before: program.passes.len() as u32,
                bytes: bytes as u32,
                own: terms_from(self.first_term(), self.tiles()),
                all: terms_from(self.first_term_of_whole(), self.tiles_of_whole()),
            });
        }
        let workgroups = self.fold(many.len() + few.len().div_ceil(COMBINE_WIDTH as usize));
        program.passes.push(Pass { module, bindings: program.bindings.len() as u32 - 1, workgroups });
    }
}

/// One record of the buffer of records.
fn record(buffer: u32) -> Slice {
    Slice { buffer, offset: 0, size: RECORD_BYTES }
}
