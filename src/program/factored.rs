//! Rows and columns on the device: where those of all tensors are, and which workgroup adds up what of them. Pure functions
//! of shapes. A line is a row or a column.

use super::WORKGROUP;
use super::matrices::Matrices;
use super::windows::Plan;
use crate::rule::SlotKind;
use std::collections::BTreeMap;

/// Lines that one workgroup adds up, one each invocation.
pub(crate) const BLOCK: usize = WORKGROUP as usize;
/// Elements of a line that one invocation adds up, as `CHUNK` in `shaders/core/reduce_factored.wgsl`.
pub(super) const CHUNK: usize = 1024;
/// Matrices with more rows than this have a workgroup each for the mean of their rows.
pub(crate) const FEW_ROWS: usize = 64;
/// Words that a block leaves for another window: three vec4 an invocation.
const CARRIED: usize = 3 * 4 * BLOCK;

/// Where everything is in the buffer of rows and columns, and what each workgroup does: entries of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Factored {
    /// For each tensor the places of its rows, its columns and the means of its rows, in elements.
    pub places: Vec<[usize; 3]>,
    /// Elements that are kept from step to step: rows and columns.
    pub kept: usize,
    /// Elements in all, with partial sums.
    pub elements: usize,
    /// Whether some tensor has rows and columns of which four neighbours are not side by side.
    pub apart: bool,
    /// Whether four neighbours of some tensor may be in more than two rows, or in several matrices.
    pub mixed: bool,
    /// Whether some block of a matrix is cut into windows.
    pub cut: bool,
    /// Whether some tensor has no columns.
    pub vectors: bool,
    /// How many times the invocations of a block take some of its rows, at most.
    pub turns: usize,
    /// Three vec4 for each tensor.
    records: Vec<[u32; 4]>,
    /// For each window two vec4 for each workgroup that reduces lines.
    reducing: Vec<Vec<[u32; 4]>>,
    /// For each window two vec4 for each workgroup that reduces a block of a matrix.
    blocks: Vec<Vec<[u32; 4]>>,
    /// A vec4 for each block of lines that are averaged; four are a workgroup's.
    averaging: Vec<[u32; 4]>,
    /// A vec4 for each workgroup that averages the rows of matrices.
    matrices: Vec<[u32; 4]>,
}

/// Vec4 before the records in the part of the table.
const HEADER: usize = 3;

/// One block of lines in one chunk, or one block of a matrix, in one window.
struct Entry {
    window: usize,
    /// First element of the lines.
    chunk: usize,
    /// The tensor's elements in the window, and where its element 0 would be among the window's gradients.
    range: std::ops::Range<usize>,
    origin: u32,
}

impl Factored {
    /// For tensors of these shapes and groups, cut by `plan`.
    pub fn new(shapes: &[(&[usize], usize)], plan: &Plan) -> Self {
        let mut factored = Self::default();
        let all: Vec<Matrices> = shapes.iter().map(|(shape, _)| Matrices::of(shape)).collect();
        factored.apart = all.iter().any(|m| m.factored && (m.lanes() == 0 || m.columns % 4 != 0));
        factored.vectors = all.iter().any(|m| !m.factored);
        factored.turns = all.iter().map(Matrices::turns).max().unwrap_or(0);
        factored.mixed = all.iter().any(|m| m.factored && (m.lanes() == 0 || m.columns < 4));
        let mut at = 0;
        let mut place = |count: usize| {
            // At a vec4, of which it owns the last one.
            at += count.next_multiple_of(4);
            at - count.next_multiple_of(4)
        };
        for matrices in &all {
            let kinds = [SlotKind::Rows, SlotKind::Columns];
            let [rows, columns] = kinds.map(|kind| place(matrices.lines(kind)));
            factored.places.push([rows, columns, 0]);
        }
        factored.kept = place(0);
        for ((matrices, places), (_, group)) in all.iter().zip(&mut factored.places).zip(shapes) {
            places[2] = place(matrices.batch);
            let [rows, columns, means] = places.map(|place| place as u32);
            let between = if matrices.factored { matrices.between } else { 0 };
            let [row, column] = [matrices.rows as u32, matrices.columns as u32];
            factored.records.push([row, column, between as u32, matrices.inner as u32]);
            factored.records.push([rows, columns, means, *group as u32]);
            let terms = |kind: SlotKind, place: &mut dyn FnMut(usize) -> usize| match matrices.lanes() {
                0 => 0,
                _ => place(matrices.lines(kind).div_ceil(BLOCK) * matrices.parts(kind) * BLOCK),
            };
            let of_rows = terms(SlotKind::Rows, &mut place);
            let of_columns = terms(SlotKind::Columns, &mut place);
            let lanes = matrices.lanes() as u32;
            factored.records.push([matrices.batch as u32, lanes, of_rows as u32, of_columns as u32]);
            if lanes > 0 {
                for (code, kind, of_lines) in
                    [(0, SlotKind::Rows, of_rows), (1, SlotKind::Columns, of_columns)]
                {
                    let parts = matrices.parts(kind);
                    factored.averaging.extend((0..matrices.lines(kind).div_ceil(BLOCK)).map(|block| {
                        let tensor = (factored.records.len() / 3 - 1) as u32;
                        let (first, terms) = (block * BLOCK, of_lines + block * parts * BLOCK);
                        [2 * tensor + code, first as u32, terms as u32, parts as u32]
                    }));
                }
            }
        }

        // What adds up the same lines stands together, in the order of windows and chunks.
        let mut entries: BTreeMap<(usize, u32, usize), Vec<Entry>> = BTreeMap::new();
        // The same of the blocks of matrices, by tensor, first row and first column.
        let mut blocks: BTreeMap<(usize, usize, usize), Vec<Entry>> = BTreeMap::new();
        for (window, contents) in plan.windows.iter().enumerate() {
            let mut tiles = &contents.tiles[..];
            while let Some(first) = tiles.first() {
                let count = tiles.iter().take_while(|tile| tile.tensor == first.tensor).count();
                let len: u32 = tiles[..count].iter().map(|tile| tile.count).sum();
                tiles = &tiles[count..];
                let (tensor, start) = (first.tensor as usize, first.first as usize);
                let (range, origin) = (start..start + len as usize, first.grad.wrapping_sub(first.first));
                let matrices = &all[tensor];
                if !matrices.factored {
                    // Their rows are averaged by the first pass over tiles.
                    continue;
                }
                if matrices.lanes() > 0 {
                    for (row, column) in matrices.blocks_of(&range) {
                        let entry = Entry { window, chunk: 0, range: range.clone(), origin };
                        blocks.entry((tensor, row, column)).or_default().push(entry);
                    }
                    continue;
                }
                for (code, kind) in [(0, SlotKind::Rows), (1, SlotKind::Columns)] {
                    let lines = matrices.lines_of(kind, &range);
                    let (_, _, length) = matrices.line(kind, 0);
                    for block in lines.start / BLOCK..lines.end.div_ceil(BLOCK) {
                        let here = entries.entry((tensor, code, block)).or_default();
                        here.extend((0..length.div_ceil(CHUNK)).map(|chunk| Entry {
                            window,
                            chunk: chunk * CHUNK,
                            range: range.clone(),
                            origin,
                        }));
                    }
                }
            }
        }
        factored.reducing = vec![vec![]; plan.windows.len()];
        for ((tensor, code, block), entries) in entries {
            let (tensor, first) = (tensor as u32, (block * BLOCK) as u32);
            // Windows continue one another's sums, so that where a tensor is cut does not matter.
            let chunks = entries.iter().take_while(|entry| entry.window == entries[0].window).count();
            let partial = place(chunks * 2 * BLOCK);
            factored.averaging.push([2 * tensor + code, first, partial as u32, chunks as u32]);
            for entry in &entries {
                let (start, end) = (entry.range.start as u32, entry.range.end as u32);
                let place = partial + entry.chunk / CHUNK * BLOCK;
                let is_first = entry.window == entries[0].window;
                factored.reducing[entry.window].extend([
                    [2 * tensor + code, first, entry.chunk as u32, place as u32],
                    [entry.origin, start, end, is_first.into()],
                ]);
            }
        }
        factored.blocks = vec![vec![]; plan.windows.len()];
        for ((tensor, row, column), entries) in blocks {
            factored.cut |= entries.len() > 1;
            let carried = if entries.len() > 1 { place(CARRIED) } else { 0 };
            for (i, entry) in entries.iter().enumerate() {
                let (start, end) = (entry.range.start as u32, entry.range.end as u32);
                factored.blocks[entry.window].extend([
                    [tensor as u32, row as u32, column as u32, carried as u32],
                    [entry.origin, start, end, (i == 0).into()],
                ]);
            }
        }
        for (tensor, matrices) in
            (0..).zip(&all).filter(|(_, matrices)| matrices.factored && matrices.rows > 0)
        {
            let alone = matrices.rows > FEW_ROWS;
            let step = if alone { 1 } else { BLOCK };
            let entry = |matrix| [tensor, matrix as u32, alone.into(), 0];
            factored.matrices.extend((0..matrices.batch).step_by(step).map(entry));
        }
        factored.elements = place(0).next_multiple_of(4);
        factored
    }

    /// The part of a window's table that is about rows and columns, to be read from vec4 `at` on.
    pub fn table(&self, window: usize, at: usize) -> Vec<[u32; 4]> {
        let parts =
            [&self.records, &self.reducing[window], &self.averaging, &self.matrices, &self.blocks[window]];
        let mut next = at + HEADER;
        let [records, reducing, averaging, matrices, blocks] = parts.map(|part| {
            next += part.len();
            (next - part.len()) as u32
        });
        let header = [
            [records, reducing, self.reducing_workgroups(window) as u32, averaging],
            [self.averaging.len() as u32, matrices, self.matrices.len() as u32, 0],
            [blocks, self.block_workgroups(window) as u32, 0, 0],
        ];
        std::iter::once(&header[..]).chain(parts.map(|part| &part[..])).flatten().copied().collect()
    }

    /// Vec4 of [`table`](Factored::table).
    pub fn table_vec4(&self, window: usize) -> usize {
        let windows = self.reducing[window].len() + self.blocks[window].len();
        HEADER + self.records.len() + windows + self.averaging.len() + self.matrices.len()
    }

    pub fn reducing_workgroups(&self, window: usize) -> usize {
        self.reducing[window].len() / 2
    }

    pub fn block_workgroups(&self, window: usize) -> usize {
        self.blocks[window].len() / 2
    }

    pub fn averaging_workgroups(&self) -> usize {
        self.averaging.len().div_ceil(4)
    }

    pub fn matrix_workgroups(&self) -> usize {
        self.matrices.len()
    }
}
