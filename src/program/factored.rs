//! Rows and columns: averages over the two largest dimensions of a tensor, for second moments that are factored.
//! Where they are, and which workgroup adds up what of them. Pure functions of shapes. A line is a row or a column.

use super::WORKGROUP;
use super::windows::Plan;
use crate::arithmetic::Real;
use crate::rule::SlotKind;
use std::collections::BTreeMap;

/// Lines that one workgroup adds up, one each invocation.
const BLOCK: usize = WORKGROUP as usize;
/// Elements of a line that one invocation adds up, as `CHUNK` in `shaders/core/reduce_factored.wgsl`.
const CHUNK: usize = 1024;
/// Matrices with more rows than this have a workgroup each for the mean of their rows.
const FEW_ROWS: usize = 64;
/// Rows of a block for each of its invocations that stand below one another: `ROWS` times `PARTS` in
/// `shaders/core/reduce_matrices.wgsl`.
const ROWS_OF_BLOCK: usize = 64;
/// Words that a block leaves for another window: three vec4 an invocation.
const CARRIED: usize = 3 * 4 * BLOCK;

/// The matrices that the two largest dimensions of a tensor make, of equal ones the later, one for each place in the
/// others. A tensor of fewer dimensions is not factored: each element is a row of its own, and there are no columns.
///
/// An element's index is `(((outer rows + row) between + b) columns + column) inner + i`, that of its matrix
/// `(outer between + b) inner + i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrices {
    /// How many.
    pub batch: usize,
    pub rows: usize,
    pub columns: usize,
    /// Places in the dimensions between the two.
    pub between: usize,
    /// Places in the dimensions behind them.
    pub inner: usize,
    pub factored: bool,
}

impl Matrices {
    pub fn of(shape: &[usize]) -> Self {
        match shape {
            // Without elements there are no lines, whatever the other dimension.
            _ if shape.contains(&0) => Self::unfactored(0),
            [] | [_] => Self::unfactored(shape.iter().product::<usize>()),
            _ => {
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                axes.sort_by_key(|axis| (std::cmp::Reverse(shape[*axis]), std::cmp::Reverse(*axis)));
                let (first, second) = (axes[0].min(axes[1]), axes[0].max(axes[1]));
                let product = |axes: &[usize]| axes.iter().product::<usize>();
                let (between, inner) = (product(&shape[first + 1..second]), product(&shape[second + 1..]));
                let batch = product(&shape[..first]) * between * inner;
                Self { batch, rows: shape[first], columns: shape[second], between, inner, factored: true }
            }
        }
    }

    fn unfactored(elements: usize) -> Self {
        let batch = elements.min(1);
        Self { batch, rows: elements, columns: batch, between: 1, inner: 1, factored: false }
    }

    /// Invocations that stand side by side in a block of a matrix, each with a vec4; 0 where rows and columns do not lie
    /// as those of a matrix, or there are none.
    fn lanes(&self) -> usize {
        if self.factored && self.between * self.inner == 1 && self.elements() > 0 {
            self.columns.div_ceil(4).next_power_of_two().min(BLOCK)
        } else {
            0
        }
    }

    /// Rows and columns of a block.
    fn block(&self) -> (usize, usize) {
        let lanes = self.lanes().max(1);
        (ROWS_OF_BLOCK * (BLOCK / lanes), 4 * lanes)
    }

    /// Parts that the lines of a kind are added up in: blocks or chunks.
    fn parts(&self, kind: SlotKind) -> usize {
        let (rows, columns) = self.block();
        let (length, part) = if kind == SlotKind::Rows { (self.columns, columns) } else { (self.rows, rows) };
        length.div_ceil(if self.lanes() > 0 { part } else { CHUNK })
    }

    /// Additions on the longest way of a term into the device's sum over a line, at most: inside a part, and 16 by 16 of
    /// these.
    fn roundings(&self, kind: SlotKind) -> usize {
        // A block's rows: four, then eight by eight. Its columns: 16, four times, eight by eight. A chunk: 32 by 32.
        let inside = if self.lanes() > 0 { 4 + 16 + 16 } else { 32 + 32 };
        let parts = self.parts(kind);
        inside + parts.min(16) + parts.div_ceil(16)
    }

    /// Elements of the tensor.
    fn elements(&self) -> usize {
        self.batch * self.rows * self.columns
    }

    /// Elements from a row to the next.
    fn stride(&self) -> usize {
        self.between * self.columns * self.inner
    }

    /// The first element of a matrix.
    fn first(&self, matrix: usize) -> usize {
        let (places, i) = (matrix / self.inner, matrix % self.inner);
        let (outer, b) = (places / self.between, places % self.between);
        ((outer * self.rows * self.between + b) * self.columns) * self.inner + i
    }

    /// The matrix, row and column of an element.
    fn place(&self, element: usize) -> (usize, usize, usize) {
        let (rest, i) = (element / self.inner, element % self.inner);
        let (rest, column) = (rest / self.columns, rest % self.columns);
        let (rest, b) = (rest / self.between, rest % self.between);
        let (outer, row) = (rest / self.rows, rest % self.rows);
        ((outer * self.between + b) * self.inner + i, row, column)
    }

    /// First row and first column of the blocks that hold elements of `range`, and perhaps of some beside it.
    fn blocks_of(&self, range: &std::ops::Range<usize>) -> Vec<(usize, usize)> {
        let (rows, columns) = self.block();
        let (first, last) = (range.start / self.columns, (range.end - 1) / self.columns);
        // Blocks start anew in each matrix.
        let start = first - first % self.rows % rows;
        let mut blocks = vec![];
        let mut row = start;
        while row <= last {
            blocks.extend((0..self.columns).step_by(columns).map(|column| (row, column)));
            let matrix_end = (row / self.rows + 1) * self.rows;
            row = (row + rows).min(matrix_end);
        }
        blocks
    }

    /// A range of lines of a kind that holds all those of which some elements are in `range`.
    fn lines_of(&self, kind: SlotKind, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let last = range.end - 1;
        if kind == SlotKind::Rows && self.between * self.inner == 1 {
            return range.start / self.columns..last / self.columns + 1;
        }
        let together =
            self.between * self.inner * if kind == SlotKind::Rows { self.rows } else { self.columns };
        let size = self.rows * self.stride();
        range.start / size * together..(last / size + 1) * together
    }

    /// Lines of a kind.
    pub fn lines(&self, kind: SlotKind) -> usize {
        match kind {
            SlotKind::Rows => self.batch * self.rows,
            SlotKind::Columns if self.factored => self.batch * self.columns,
            _ => 0,
        }
    }

    /// The elements of a line: the first, the distance to the next, their number.
    pub fn line(&self, kind: SlotKind, line: usize) -> (usize, usize, usize) {
        match kind {
            SlotKind::Columns => {
                let (matrix, column) = (line / self.columns, line % self.columns);
                (self.first(matrix) + column * self.inner, self.stride(), self.rows)
            }
            _ => {
                let (matrix, row) = (line / self.rows, line % self.rows);
                (self.first(matrix) + row * self.stride(), self.inner, self.columns)
            }
        }
    }

    /// The mean of each line of a kind, as the device finds it.
    pub fn means<R: Real>(&self, kind: SlotKind, terms: &[R]) -> Vec<R> {
        let roundings = self.roundings(kind);
        let mean = |line| {
            let (first, step, count) = self.line(kind, line);
            let line: Vec<R> = terms[first..].iter().step_by(step).take(count).copied().collect();
            R::sum(&line, roundings) / R::host(count as f64)
        };
        (0..self.lines(kind)).map(mean).collect()
    }

    /// For each element its row's average over the mean of those of its matrix: the row's share of the estimate.
    pub fn row_of_each<R: Real>(&self, r: &[R]) -> Vec<R> {
        if !self.factored {
            return r.to_vec();
        }
        let means: Vec<R> = r
            .chunks(self.rows.max(1))
            .map(|rows| R::sum(rows, FEW_ROWS + rows.len() / BLOCK + 16 + 8) / R::host(rows.len() as f64))
            .collect();
        let row = |element: usize| {
            let (matrix, row, _) = self.place(element);
            r[matrix * self.rows + row] / means[matrix]
        };
        (0..self.elements()).map(row).collect()
    }

    /// For each element its column's average, 1 where there are no columns.
    pub fn column_of_each<R: Real>(&self, c: &[R]) -> Vec<R> {
        let column = |element: usize| {
            if self.factored {
                let (matrix, _, column) = self.place(element);
                c[matrix * self.columns + column]
            } else {
                R::host(1.0)
            }
        };
        (0..self.elements()).map(column).collect()
    }
}

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
    /// Whether some block of a matrix is cut into windows.
    pub cut: bool,
    /// Three vec4 for each tensor.
    records: Vec<[u32; 4]>,
    /// For each window two vec4 for each workgroup that reduces lines.
    reducing: Vec<Vec<[u32; 4]>>,
    /// For each window two vec4 for each workgroup that reduces a block of a matrix.
    blocks: Vec<Vec<[u32; 4]>>,
    /// A vec4 for each workgroup that averages lines.
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
        self.averaging.len()
    }

    pub fn matrix_workgroups(&self) -> usize {
        self.matrices.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As optax's `scale_by_factored_rms` chooses them, and in the words of a layer: 576 + 1152 for a convolution of 128
    /// by 64 channels and 3 by 3 taps.
    #[test]
    fn the_two_largest_dimensions_are_factored() {
        for (shape, batch, rows, columns) in [
            (&[128, 64, 3, 3][..], 9, 128, 64),
            (&[3, 3, 64, 128], 9, 64, 128),
            (&[3, 128, 3, 64], 9, 128, 64),
            (&[5, 5, 5], 5, 5, 5),
            (&[7, 2, 7], 2, 7, 7),
            (&[4, 6], 1, 4, 6),
            (&[5, 1, 1], 1, 5, 1),
        ] {
            let m = Matrices::of(shape);
            assert_eq!((m.batch, m.rows, m.columns, m.factored), (batch, rows, columns, true), "{shape:?}");
            assert_eq!(m.elements(), shape.iter().product::<usize>());
            let lines = [SlotKind::Rows, SlotKind::Columns].map(|kind| m.lines(kind));
            assert_eq!(lines, [batch * rows, batch * columns]);
        }
        let conv = Matrices::of(&[128, 64, 3, 3]);
        assert_eq!(conv.lines(SlotKind::Rows) + conv.lines(SlotKind::Columns), 1728);
        for shape in [&[][..], &[7], &[3, 0, 2]] {
            assert!(!Matrices::of(shape).factored, "{shape:?}");
        }
    }

    /// Lines and places are two ways to say the same.
    #[test]
    fn each_element_is_in_one_row_and_one_column() {
        for shape in [&[4, 3, 2, 2][..], &[2, 5, 2, 3], &[2, 2, 3, 4], &[3, 3, 3], &[6, 1, 5], &[2, 7]] {
            let m = Matrices::of(shape);
            for kind in [SlotKind::Rows, SlotKind::Columns] {
                let mut seen = vec![0; m.elements()];
                for line in 0..m.lines(kind) {
                    let (first, step, count) = m.line(kind, line);
                    for element in (0..count).map(|i| first + i * step) {
                        seen[element] += 1;
                        let (matrix, row, column) = m.place(element);
                        let own = if kind == SlotKind::Rows {
                            matrix * m.rows + row
                        } else {
                            matrix * m.columns + column
                        };
                        assert_eq!(own, line, "{shape:?}, element {element}");
                        for start in 0..=element {
                            assert!(m.lines_of(kind, &(start..element + 1)).contains(&line), "{shape:?}");
                        }
                    }
                }
                assert!(seen.iter().all(|count| *count == 1), "{shape:?}: {seen:?}");
            }
        }
    }
}
