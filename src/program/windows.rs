//! From tensors to tiles: which ranges one dispatch binds (windows) and what each workgroup updates
//! (tiles). Pure functions of sizes and limits; nothing here touches a device.

use super::step::Access;
use super::{ELEMENT, Shape};
use std::ops::Range;

/// One tensor's elements: where they lie in their block's two buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// Index of the buffer pair.
    pub block: usize,
    /// First element in the parameter buffer.
    pub param: u64,
    /// First element in the gradient buffer.
    pub grad: u64,
    /// Number of elements, above 0.
    pub len: u64,
    /// Whose rows it has: the group's, or the tensor's own.
    pub owner: u32,
    /// Index of the tensor.
    pub tensor: u32,
}

/// A pair of buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Bytes of the parameter buffer.
    pub param_size: u64,
    /// Bytes of the gradient buffer.
    pub grad_size: u64,
    /// Elements of padding between neighbours that belong to nobody else, so that tiles may run
    /// across them. 0 in the caller's own buffers.
    pub padding: u64,
    /// Whether both are one buffer, of which a window must bind ranges that do not overlap.
    pub apart: bool,
}

/// What the device allows a window and a tile to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of the largest storage binding.
    pub binding: u64,
    /// Alignment of a storage binding's offset, in bytes.
    pub alignment: u64,
    /// Workgroups of a dispatch in one dimension.
    pub workgroups: u32,
    /// Slots in the fullest state buffer.
    pub packed_slots: u64,
    /// Elements of a tile, a multiple of four.
    pub tile: u64,
    /// How tiles are dealt to invocations.
    pub shape: Shape,
    /// Whether something is added up over tiles.
    pub sums: bool,
}

impl Sizes {
    /// Bytes of the smallest binding that holds a vec4 of every buffer, wherever it starts.
    pub fn smallest_binding(&self) -> u64 {
        (self.alignment + 4 * ELEMENT).max(4 * ELEMENT * self.packed_slots)
    }
}

/// One row of the tile table, as the shader reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Tile {
    /// First element in the window's parameters.
    pub param: u32,
    /// First element in the window's gradients.
    pub grad: u32,
    /// First element in each slot, a multiple of four.
    pub state: u32,
    /// Number of elements.
    pub count: u32,
    /// Whose rows it has.
    pub owner: u32,
    /// First tensor in it.
    pub tensor: u32,
    /// Its first element in that tensor, where tensors are not merged.
    pub first: u32,
    /// Its number among the window's tiles.
    pub index: u32,
}

/// What one dispatch binds and does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Index of the buffer pair.
    pub block: usize,
    /// Bytes bound of the parameter buffer.
    pub param: Range<u64>,
    /// Bytes bound of the gradient buffer.
    pub grad: Range<u64>,
    /// Elements of each slot, a multiple of four.
    pub state: u64,
    /// Whether vec4 fit.
    pub access: Access,
    /// The tiles, in the order of the tensors. The table has small ones last.
    pub tiles: Vec<Tile>,
    /// Elements of the largest tile that shares a workgroup.
    pub small: u64,
    /// Workgroups: one for each large tile, and one for some small ones.
    pub workgroups: u64,
    /// The same, folded to two dimensions.
    pub grid: (u32, u32),
}

/// A part of a tensor, for finding its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index of the window.
    pub window: usize,
    /// First element in each slot of that window.
    pub state: u64,
    /// Number of elements.
    pub len: u64,
}

/// All windows, and for each tensor its pieces in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One dispatch each.
    pub windows: Vec<Window>,
    /// Small tiles that share a workgroup, `PACKED` in `shaders/core/tiles.wgsl`.
    pub packed: u64,
    /// Indexed by tensor; empty for tensors without elements.
    pub pieces: Vec<Vec<Piece>>,
}

/// Cuts `spans` into windows and tiles. `merge` joins neighbours of one owner into common runs, which
/// element-wise rules allow.
pub(crate) fn plan(spans: &[Span], blocks: &[Block], tensors: usize, sizes: Sizes, merge: bool) -> Plan {
    let mut order: Vec<&Span> = spans.iter().collect();
    order.sort_unstable_by_key(|span| (span.block, span.param));

    let mut builder = Builder { blocks, sizes, drafts: vec![], pieces: vec![vec![]; tensors] };
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while merge && end < order.len() && joins(order[end - 1], order[end], blocks) {
            end += 1;
        }
        builder.run(&order[start..end]);
        start = end;
    }
    builder.finish()
}

/// Whether `next` may share tiles with its neighbour `span`.
fn joins(span: &Span, next: &Span, blocks: &[Block]) -> bool {
    if span.block != next.block || span.owner != next.owner {
        return false;
    }
    let gap = next.param - (span.param + span.len);
    next.grad.checked_sub(span.grad + span.len) == Some(gap) && gap <= blocks[span.block].padding
}

/// A window whose extent is not known yet; its tiles have positions in the whole buffers.
struct Draft {
    block: usize,
    param: Range<u64>,
    grad: Range<u64>,
    state: u64,
    tiles: Vec<(u64, u64, Tile)>,
}

struct Builder<'a> {
    blocks: &'a [Block],
    sizes: Sizes,
    drafts: Vec<Draft>,
    pieces: Vec<Vec<Piece>>,
}

impl Builder<'_> {
    /// Adds a run of neighbouring spans, in as many windows as it takes.
    fn run(&mut self, spans: &[&Span]) {
        let (first, last) = (spans[0], spans[spans.len() - 1]);
        let len = last.param + last.len - first.param;
        let mut done = 0;
        while done < len {
            let (param, grad) = (first.param + done, first.grad + done);
            let take = self.room(first.block, param, grad, len - done);
            let window = self.drafts.len() - 1;
            let draft = &mut self.drafts[window];
            let state = start_of_slots(draft.state, len - done);
            draft.param.end = draft.param.end.max((param + take) * ELEMENT);
            draft.grad.start = draft.grad.start.min(align_down(grad * ELEMENT, self.sizes.alignment));
            draft.grad.end = draft.grad.end.max((grad + take) * ELEMENT);
            draft.state = state + take.next_multiple_of(4);
            for at in (0..take).step_by(self.sizes.tile as usize) {
                let tile = Tile {
                    param: 0,
                    grad: 0,
                    state: (state + at) as u32,
                    count: self.sizes.tile.min(take - at) as u32,
                    owner: first.owner,
                    tensor: first.tensor,
                    first: (done + at) as u32,
                    index: 0,
                };
                draft.tiles.push((param + at, grad + at, tile));
            }
            self.record(spans, first.param, done..done + take, window, state);
            done += take;
        }
    }

    /// How many of `left` elements at `param` and `grad` fit into the last window, which is a new one
    /// if nothing fits into the present one.
    fn room(&mut self, block: usize, param: u64, grad: u64, left: u64) -> u64 {
        // Positions in a window are u32.
        let capacity = (self.sizes.binding / (4 * ELEMENT) * 4).min(1 << 32);
        let state_capacity = capacity / self.sizes.packed_slots.max(1) / 4 * 4;
        let param_start = align_down(param * ELEMENT, self.sizes.alignment);
        let grad_start = align_down(grad * ELEMENT, self.sizes.alignment);
        // Whether the ranges of a window that takes so many more can be bound.
        let apart = |params: &Range<u64>, grads: &Range<u64>, take: u64| {
            let params = params.start..params.end.max((param + take) * ELEMENT);
            let grads = grads.start.min(grad_start)..grads.end.max((grad + take) * ELEMENT);
            !self.blocks[block].apart || whole(&params) <= grads.start || whole(&grads) <= params.start
        };
        if let Some(draft) = self.drafts.last().filter(|draft| draft.block == block) {
            let grad_start = draft.grad.start.min(grad_start);
            let grads_fit = draft.grad.end - grad_start <= capacity * ELEMENT;
            let room = (draft.param.start / ELEMENT + capacity)
                .saturating_sub(param)
                .min((grad_start / ELEMENT + capacity).saturating_sub(grad))
                .min(state_capacity.saturating_sub(start_of_slots(draft.state, left)));
            let take = if room >= left { left } else { room / self.sizes.tile * self.sizes.tile };
            if grads_fit && take > 0 && apart(&draft.param, &draft.grad, take) {
                return take;
            }
        }
        self.drafts.push(Draft {
            block,
            param: param_start..param_start,
            grad: grad_start..grad_start,
            state: 0,
            tiles: vec![],
        });
        let slack = (param - param_start / ELEMENT).max(grad - grad_start / ELEMENT);
        let room = (capacity - slack).min(state_capacity);
        let mut take = match room {
            room if room >= left => left,
            room if room >= self.sizes.tile => room / self.sizes.tile * self.sizes.tile,
            room => room / 4 * 4,
        };
        // Gradients right behind their parameters start in the last 256 bytes of these: half of them does not reach so far.
        let (params, grads) = (param_start..param_start, grad_start..grad_start);
        while take > 4 && !apart(&params, &grads, take) {
            take = (take / 2).next_multiple_of(4);
        }
        take
    }

    /// Notes which tensors the elements `range` of a run (which starts at `origin`) belong to.
    fn record(&mut self, spans: &[&Span], origin: u64, range: Range<u64>, window: usize, state: u64) {
        // Spans are in order: skip to the first that ends inside.
        let skip = spans.partition_point(|span| span.param + span.len - origin <= range.start);
        for span in &spans[skip..] {
            let start = (span.param - origin).max(range.start);
            let end = (span.param + span.len - origin).min(range.end);
            if start >= end {
                break;
            }
            let piece = Piece { window, state: state + start - range.start, len: end - start };
            self.pieces[span.tensor as usize].push(piece);
        }
    }

    /// Makes tiles relative to their windows and chooses access and grid.
    fn finish(self) -> Plan {
        let sizes = self.sizes;
        let counts =
            self.drafts.iter().flat_map(|draft| &draft.tiles).map(|(_, _, tile)| u64::from(tile.count));
        let packed = sizes.shape.packed(sizes.tile, sizes.sums, counts);
        let largest_small = sizes.shape.small(sizes.tile, packed);
        let window = |mut draft: Draft| {
            let block = &self.blocks[draft.block];
            let aligned = draft.tiles.iter().all(|(param, grad, _)| param % 4 == 0 && grad % 4 == 0);
            let fits = whole(&draft.param) <= block.param_size && whole(&draft.grad) <= block.grad_size;
            // Storage offsets may be aligned to less than a vec4 on some devices.
            let starts =
                [&draft.param, &draft.grad].iter().all(|range| range.start.is_multiple_of(4 * ELEMENT));
            let access = if aligned && fits && starts { Access::Vec4 } else { Access::Single };
            if access == Access::Vec4 {
                draft.param.end = whole(&draft.param);
                draft.grad.end = whole(&draft.grad);
            }
            let tiles = (0..).zip(&draft.tiles).map(|(index, &(param, grad, tile))| Tile {
                index,
                param: (param - draft.param.start / ELEMENT) as u32,
                grad: (grad - draft.grad.start / ELEMENT) as u32,
                ..tile
            });
            let is_small = |(_, _, tile): &&(u64, u64, Tile)| u64::from(tile.count) <= largest_small;
            let small = draft.tiles.iter().filter(is_small).count() as u64;
            let workgroups = draft.tiles.len() as u64 - small + small.div_ceil(packed);
            Window {
                block: draft.block,
                state: draft.state,
                access,
                tiles: tiles.collect(),
                small: largest_small,
                workgroups,
                grid: fold(workgroups, sizes.workgroups),
                param: draft.param,
                grad: draft.grad,
            }
        };
        Plan { windows: self.drafts.into_iter().map(window).collect(), packed, pieces: self.pieces }
    }
}

/// Where the slots of a run start behind others: those of long ones at 128 bytes, as GPUs read memory.
fn start_of_slots(at: u64, len: u64) -> u64 {
    if len < 4096 { at } else { at.next_multiple_of(32) }
}

/// The end of a range, of whole vec4.
fn whole(range: &Range<u64>) -> u64 {
    range.end.next_multiple_of(4 * ELEMENT)
}

fn align_down(bytes: u64, alignment: u64) -> u64 {
    bytes - bytes % alignment
}

/// A dispatch of at least `workgroups`, as even as two dimensions of at most `limit` allow.
pub(crate) fn fold(workgroups: u64, limit: u32) -> (u32, u32) {
    let rows = workgroups.div_ceil(u64::from(limit)).max(1);
    (workgroups.div_ceil(rows) as u32, rows as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes() -> Sizes {
        Sizes {
            binding: 1 << 16,
            alignment: 256,
            workgroups: 7,
            packed_slots: 2,
            tile: 1024,
            shape: Shape::Wide(64),
            sums: false,
        }
    }

    proptest! {
        /// Every element of every tensor is in exactly one tile and one piece, whatever the limits.
        #[test]
        fn covers_everything_once(
            lens in prop::collection::vec(1u64..9000, 1..20),
            groups in prop::collection::vec(0u32..3, 20),
            padding in prop::sample::select(vec![1u64, 4, 64]),
            packed_slots in 0u64..5,
            merge: bool,
        ) {
            let mut at = 0;
            let spans: Vec<Span> = lens.iter().zip(&groups).enumerate().map(|(tensor, (&len, &group))| {
                let span = Span { block: 0, param: at, grad: at, len, owner: group, tensor: tensor as u32 };
                at = (at + len).next_multiple_of(padding);
                span
            }).collect();
            let size = at.next_multiple_of(4) * ELEMENT;
            let blocks = [Block { param_size: size, grad_size: size, padding: padding - 1, apart: false }];
            let sizes = Sizes { packed_slots, ..sizes() };
            let plan = plan(&spans, &blocks, spans.len(), sizes, merge);

            let mut owner = vec![None; at as usize];
            for window in &plan.windows {
                prop_assert!(window.param.end - window.param.start <= sizes.binding);
                prop_assert!(window.grad.end - window.grad.start <= sizes.binding);
                prop_assert!(window.param.end <= size && window.param.start % sizes.alignment == 0);
                prop_assert!(window.state * ELEMENT * packed_slots <= sizes.binding);
                prop_assert!(window.grid.0 <= sizes.workgroups);
                let is_small = |tile: &&Tile| u64::from(tile.count) <= window.small;
                let small = window.tiles.iter().filter(is_small).count() as u64;
                let workgroups = window.tiles.len() as u64 - small + small.div_ceil(plan.packed);
                prop_assert_eq!(window.workgroups, workgroups);
                prop_assert!(u64::from(window.grid.0) * u64::from(window.grid.1) >= workgroups);
                let mut state_end = 0;
                for tile in &window.tiles {
                    prop_assert!(tile.state % 4 == 0 && u64::from(tile.state) >= state_end);
                    state_end = u64::from(tile.state + tile.count);
                    prop_assert!(state_end <= window.state);
                    for i in 0..u64::from(tile.count) {
                        let element = window.param.start / ELEMENT + u64::from(tile.param) + i;
                        let grad = window.grad.start / ELEMENT + u64::from(tile.grad) + i;
                        prop_assert_eq!(element, grad);
                        prop_assert!(owner[element as usize].is_none(), "element {} twice", element);
                        owner[element as usize] = Some(tile.owner);
                    }
                }
            }
            for span in &spans {
                for element in span.param..span.param + span.len {
                    prop_assert_eq!(owner[element as usize], Some(span.owner));
                }
                let pieces = &plan.pieces[span.tensor as usize];
                prop_assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u64>(), span.len);
            }
            if padding == 1 || !merge {
                let owned = owner.iter().filter(|owner| owner.is_some()).count() as u64;
                prop_assert_eq!(owned, lens.iter().sum::<u64>(), "nothing else is touched");
            }
        }

        #[test]
        fn folding_wastes_less_than_a_row(workgroups in 1u64..10_000_000) {
            let (x, y) = fold(workgroups, 65_535);
            prop_assert!(x <= 65_535 && y <= 65_535);
            let total = u64::from(x) * u64::from(y);
            prop_assert!(total >= workgroups && total - workgroups < u64::from(y));
        }
    }

    #[test]
    fn ten_thousand_neighbours_cost_what_one_tensor_costs() {
        let span =
            |i: u64| Span { block: 0, param: i * 64, grad: i * 64, len: 10, owner: 0, tensor: i as u32 };
        let spans: Vec<Span> = (0..10_000).map(span).collect();
        let size = 640_000 * ELEMENT;
        let blocks = [Block { param_size: size, grad_size: size, padding: 63, apart: false }];
        let sizes = Sizes { binding: 1 << 27, ..sizes() };
        assert_eq!(plan(&spans, &blocks, 10_000, sizes, true).windows[0].tiles.len(), 625);
    }

    #[test]
    fn positions_in_a_window_fit_their_words() {
        let len = (1u64 << 33) + 4;
        let span = Span { block: 0, param: 0, grad: 0, len, owner: 0, tensor: 0 };
        let blocks =
            [Block { param_size: len * ELEMENT, grad_size: len * ELEMENT, padding: 0, apart: false }];
        let sizes = Sizes { binding: 1 << 40, packed_slots: 1, tile: 1 << 20, ..sizes() };
        let plan = plan(&[span], &blocks, 1, sizes, true);
        assert_eq!(plan.windows.iter().map(|window| window.state).collect::<Vec<_>>(), [1 << 32, 1 << 32, 4]);
        for window in &plan.windows {
            for (i, tile) in (0u64..).zip(&window.tiles) {
                assert_eq!([tile.param, tile.grad, tile.state].map(u64::from), [i << 20; 3]);
            }
        }
    }

    proptest! {
        /// Of one buffer, ranges are bound that do not overlap, wherever they start.
        #[test]
        fn one_buffer_is_bound_apart(
            tensors in prop::collection::vec((1u64..3000, 0u64..70, 72u64..4000, 0u32..2), 1..12),
            tile in prop::sample::select(vec![256u64, 1024]),
        ) {
            let mut at = 0;
            let spans: Vec<Span> = (0..).zip(&tensors).map(|(tensor, &(len, before, gap, group))| {
                let (param, grad) = (at + before, at + before + len.max(gap));
                at = grad + len;
                Span { block: 0, param, grad, len, owner: group, tensor }
            }).collect();
            let size = at.next_multiple_of(4) * ELEMENT;
            let blocks = [Block { param_size: size, grad_size: size, padding: 0, apart: true }];
            let plan = plan(&spans, &blocks, spans.len(), Sizes { tile, ..sizes() }, true);
            let mut elements = 0;
            for window in &plan.windows {
                prop_assert!(window.param.end <= window.grad.start || window.grad.end <= window.param.start);
                for tile in &window.tiles {
                    let of_tile = u64::from(tile.param + tile.count) * ELEMENT;
                    prop_assert!(window.param.start + of_tile <= window.param.end);
                    elements += u64::from(tile.count);
                }
            }
            prop_assert_eq!(elements, spans.iter().map(|span| span.len).sum::<u64>());
        }
    }

    #[test]
    fn callers_gradients_may_lie_in_another_order() {
        let span = |tensor: u32, param, grad| Span { block: 0, param, grad, len: 100, owner: 0, tensor };
        let blocks = [Block { param_size: 4096, grad_size: 4096, padding: 0, apart: false }];
        let plan = plan(&[span(0, 0, 300), span(1, 100, 0)], &blocks, 2, sizes(), true);
        let tiles: Vec<_> = plan
            .windows
            .iter()
            .flat_map(|w| {
                w.tiles.iter().map(move |t| {
                    (w.param.start / 4 + u64::from(t.param), w.grad.start / 4 + u64::from(t.grad), t.count)
                })
            })
            .collect();
        assert_eq!(tiles, [(0, 300, 100), (100, 0, 100)]);
    }
}
