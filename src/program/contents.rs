//! What the buffers of a program hold before the first step: tables, slots, results.

use super::assemble::{Assembly, TableParts};
use super::windows::{Tile, Window};
use super::{Buffer, ELEMENT, Fill, Shape, Slice, Usage, VEC4, WindowPlace};
use crate::rule::{Config, initial_of};
use crate::wrappers::LossScale;
use std::ops::Range;

impl<C: Config> Assembly<'_, C> {
    /// The table and the slots of a window; `before` tiles are in the windows before it.
    pub(super) fn window(
        &self,
        index: usize,
        window: &Window,
        before: usize,
        buffers: &mut Vec<Buffer>,
    ) -> WindowPlace {
        let parts = self.table_parts(window);
        let table = buffers.len() as u32;
        buffers.push(self.table(index, window, before, &parts));
        let state = (0..self.step.state_buffers).map(|buffer| {
            buffers.push(self.state(window, buffer));
            buffers.len() as u32 - 1
        });
        let state = state.collect();
        let (offset, size) = (parts.counts as u64 * VEC4, (parts.tiles - parts.counts) as u64 * VEC4);
        WindowPlace { table, counts: Slice { buffer: table, offset, size }, state, stride: window.state }
    }

    /// Header, rows (written by the steps), counts and tiles; see `shaders/core/tiles.wgsl`. Counted rows that no step
    /// has written yet are those of the first step: whatever a device's count may be, it finds a row that makes sense.
    fn table(&self, index: usize, window: &Window, before: usize, parts: &TableParts) -> Buffer {
        let rows = &self.step.rows;
        let counted_vec4 = rows.counted_vec4 as usize;
        let (large, small) = in_order_of_table(window);
        let header = [
            [large.len(), parts.tiles, rows.now_vec4 as usize, (window.state / 4) as usize],
            [self.first_term(), before, parts.counts, parts.end],
            [counted_vec4, parts.counted, self.owners.len() * counted_vec4, self.places.counted],
        ];
        let at = |vec4: usize| vec4 as u64 * VEC4;
        let mut contents = vec![fill(0, header.concat().into_iter().map(|word| word as u32).collect())];
        if counted_vec4 > 0 {
            let (words, times) = (self.first_counted.clone(), self.places.counted as u64);
            contents.push(Fill { at: at(parts.counted), words, times });
        }
        let tiles = [large, small].concat();
        contents.push(fill(at(parts.tiles), bytemuck::cast_slice(&tiles).to_vec()));
        if let Some(factored) = &self.factored {
            contents.push(fill(at(parts.end), factored.table(index, parts.end).concat()));
        }
        if let Some(words) = &self.row_words {
            contents.push(fill(at(parts.end), words.table.concat()));
        }
        self.buffer("table", self.table_size(index, window), Usage::Storage, contents)
    }

    /// The tiles of a window, each with its places among the counts, as `find_tile` in `shaders/core/tiles.wgsl` gives them.
    pub(super) fn counters(&self, window: &Window) -> Vec<(Tile, Range<u64>)> {
        let (large, small) = in_order_of_table(window);
        let alone = large.len() as u64;
        let (all, shared) = match self.step.shape {
            Shape::Long => {
                let all = u64::from(self.step.shape.invocations());
                (all, all / u64::from(self.step.packed))
            }
            Shape::Wide(_) => (1, 1),
        };
        let counters = |place: u64| match place.checked_sub(alone) {
            None => place * all..(place + 1) * all,
            Some(place) => alone * all + place * shared..alone * all + (place + 1) * shared,
        };
        large.into_iter().chain(small).zip(0..).map(|(tile, place)| (tile, counters(place))).collect()
    }

    /// One state buffer, its slots at their initial values.
    fn state(&self, window: &Window, buffer: usize) -> Buffer {
        let names: Vec<&str> = self.step.streams_in(buffer).map(|stream| stream.name).collect();
        let name = format!("slots {}", names.join(", "));
        let size = u64::from(self.step.depth_of(buffer)) * window.state * ELEMENT;
        let initial: Vec<_> = self.groups.iter().map(|group| initial_of(group.rule())).collect();
        let mut contents: Vec<Fill> = vec![];
        for (slot, stream) in self.step.streams.iter().enumerate() {
            let Some((_, first)) = stream.place.filter(|(at, _)| *at == buffer) else { continue };
            for rank in first..first + stream.depth {
                for tile in &window.tiles {
                    let word = initial[self.owners[tile.owner as usize]]
                        .get(slot)
                        .map_or(0, |value| value.to_bits());
                    let at = (u64::from(rank) * window.state + u64::from(tile.state)) * ELEMENT;
                    let times = u64::from(tile.count);
                    match contents.last_mut() {
                        _ if word == 0 => {}
                        // Neighbours that start alike are one.
                        Some(last) if last.words == [word] && last.at + last.times * ELEMENT == at => {
                            last.times += times;
                        }
                        _ => contents.push(Fill { at, words: vec![word], times }),
                    }
                }
            }
        }
        self.buffer(&name, size, Usage::Storage, contents)
    }

    /// The scratch buffer, ready for the first step.
    pub(super) fn scratch(&self) -> Buffer {
        let scale = self.step.wrappers.loss_scale.map_or(1.0, |LossScale { initial, .. }| initial as f32);
        let mut header = vec![[0.0; 4], [scale, 1.0, 1.0, 0.0], [0.0; 4]];
        if self.step.has_device_scalars() {
            header.push(self.groups[0].rule().device_scalars().map(|value| value as f32));
        }
        let words = header.concat().into_iter().map(f32::to_bits).collect();
        self.buffer("results", self.scratch_size(), Usage::Storage, vec![fill(0, words)])
    }
}

/// The tiles of a window that have a workgroup each, and those that share one.
fn in_order_of_table(window: &Window) -> (Vec<Tile>, Vec<Tile>) {
    window.tiles.iter().partition(|tile| u64::from(tile.count) > window.small)
}

/// Words that stand once.
pub(super) fn fill(at: u64, words: Vec<u32>) -> Fill {
    Fill { at, words, times: 1 }
}
