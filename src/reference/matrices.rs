//! What rules with factored slots see of rows and columns, as the device adds them up.

use crate::arithmetic::Real;
use crate::program::{BLOCK, FEW_ROWS, Matrices};
use crate::rule::SlotKind;

impl Matrices {
    /// Additions on the longest way of a term into the device's sum over a line, at most: inside a part, and 16 by 16 of
    /// these.
    fn roundings(&self, kind: SlotKind) -> usize {
        // A block's rows: four, then eight by eight. Its columns: 16, four times, eight by eight. A chunk: 32 by 32.
        let inside = if self.lanes() > 0 { 4 + 16 + 16 } else { 32 + 32 };
        let parts = self.parts(kind);
        inside + parts.min(16) + parts.div_ceil(16)
    }

    /// The matrix, row and column of an element.
    pub fn place(&self, element: usize) -> (usize, usize, usize) {
        let (rest, i) = (element / self.inner, element % self.inner);
        let (rest, column) = (rest / self.columns, rest % self.columns);
        let (rest, b) = (rest / self.between, rest % self.between);
        let (outer, row) = (rest / self.rows, rest % self.rows);
        ((outer * self.between + b) * self.inner + i, row, column)
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
