//! The two largest dimensions of a tensor: rows and columns, for second moments that are factored over them, and how the
//! device adds them up. Pure functions of a shape. A line is a row or a column.

use super::factored::{BLOCK, CHUNK};
use crate::rule::SlotKind;

/// Rows that an invocation takes between two barriers, and how many times, as in `shaders/core/reduce_matrices.wgsl`.
const ROWS: usize = 16;
const PARTS: usize = 4;

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
                axes.sort_unstable_by_key(|axis| (std::cmp::Reverse(shape[*axis]), std::cmp::Reverse(*axis)));
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
    pub fn lanes(&self) -> usize {
        if self.factored && self.between * self.inner == 1 && self.elements() > 0 {
            self.columns.div_ceil(4).next_power_of_two().min(BLOCK)
        } else {
            0
        }
    }

    /// Rows and columns of a block.
    fn block(&self) -> (usize, usize) {
        let lanes = self.lanes().max(1);
        (PARTS * ROWS * (BLOCK / lanes), 4 * lanes)
    }

    /// How many of the `PARTS` of its blocks have rows.
    pub fn turns(&self) -> usize {
        match self.lanes() {
            0 => 0,
            lanes => self.rows.div_ceil(ROWS * (BLOCK / lanes)).min(PARTS),
        }
    }

    /// Parts that the lines of a kind are added up in: blocks or chunks.
    pub fn parts(&self, kind: SlotKind) -> usize {
        let (rows, columns) = self.block();
        let (length, part) = if kind == SlotKind::Rows { (self.columns, columns) } else { (self.rows, rows) };
        length.div_ceil(if self.lanes() > 0 { part } else { CHUNK })
    }

    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
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

    /// First row and first column of the blocks that hold elements of `range`, and perhaps of some beside it.
    pub fn blocks_of(&self, range: &std::ops::Range<usize>) -> Vec<(usize, usize)> {
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
    pub fn lines_of(&self, kind: SlotKind, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
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
