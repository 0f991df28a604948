//! Who updates what: tensors, or ranges of their rows, dealt to ranks by their elements. Pure: every rank has the same result.

/// A tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its name.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
}

impl Whole {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What its first dimension counts; of a scalar one.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.len().checked_div(self.rows()).unwrap_or(0)
    }

    /// Rows whose elements are a multiple of four, so that vec4 of all pieces begin where those of the tensor do.
    fn together(&self) -> usize {
        match self.width() % 4 {
            0 => 1,
            2 => 2,
            _ => 4,
        }
    }
}

/// A tensor, or some of its rows, and who updates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The tensor's place in the model.
    pub tensor: usize,
    /// Rows, from this on.
    pub first_row: usize,
    /// The number of rows; all of them where a tensor is whole.
    pub rows: usize,
    /// Whether that is all of the tensor.
    pub is_whole: bool,
    /// First element in the tensor.
    pub first: usize,
    /// Elements.
    pub len: usize,
    /// The rank that updates it.
    pub owner: usize,
}

impl Piece {
    /// The tensor's name, with the rows where it is cut: `w[0..128]`.
    pub fn name(&self, model: &[Whole]) -> String {
        let name = &model[self.tensor].name;
        if self.is_whole {
            name.clone()
        } else {
            format!("{name}[{}..{}]", self.first_row, self.first_row + self.rows)
        }
    }

    /// Its shape.
    pub fn shape(&self, model: &[Whole]) -> Vec<usize> {
        let mut shape = model[self.tensor].shape.clone();
        if !self.is_whole
            && let Some(rows) = shape.first_mut()
        {
            *rows = self.rows;
        }
        shape
    }
}

/// How much more than its fair share a rank may have before large tensors are cut further.
const ROOM: f64 = 1.005;
/// Pieces of a model, at most, for each rank and each tensor.
const PIECES: usize = 64;

/// Deals a model's tensors to `ranks`: the largest first, each to the rank with the fewest elements, of those with as few to the
/// first. With `cut`, tensors larger than a fair share are cut into ranges of rows, and smaller ones too, as far as it takes to
/// give everybody a fair share. In the order of tensors and rows.
///
/// ```
/// use wgpu_optim_mpi::deal::{Whole, deal, shares};
/// let tensor = |name: &str, shape: &[usize]| Whole { name: name.into(), shape: shape.into() };
/// let model = [tensor("embedding", &[30_000, 64]), tensor("weight", &[64, 64]), tensor("bias", &[64])];
/// assert_eq!(shares(&deal(&model, 2, false), 2), [1_920_000, 4_160]);
/// let even = shares(&deal(&model, 2, true), 2);
/// assert!(even[0].abs_diff(even[1]) < 20_000);
/// ```
pub fn deal(model: &[Whole], ranks: usize, cut: bool) -> Vec<Piece> {
    let all: usize = model.iter().map(Whole::len).sum();
    let fair = all.div_ceil(ranks.max(1)).max(1);
    let mut largest = if cut { fair } else { usize::MAX };
    loop {
        let mut pieces: Vec<Piece> =
            model.iter().enumerate().flat_map(|(tensor, whole)| cut_up(tensor, whole, largest)).collect();
        let most = to_ranks(&mut pieces, ranks);
        let smaller = largest / 2;
        // A rank's share is no fairer than the pieces are small.
        let could_be_fairer = cut && most as f64 > fair as f64 * ROOM && smaller > 0;
        let many = pieces.len() > PIECES * ranks.max(model.len());
        if !could_be_fairer || many || ranks < 2 {
            return pieces;
        }
        largest = smaller;
    }
}

/// Elements of each rank.
pub fn shares(pieces: &[Piece], ranks: usize) -> Vec<usize> {
    let of = |rank: usize| pieces.iter().filter(|piece| piece.owner == rank).map(|piece| piece.len).sum();
    (0..ranks).map(of).collect()
}

/// Ranges of rows of at most `largest` elements, as far as rows allow.
fn cut_up(tensor: usize, whole: &Whole, largest: usize) -> Vec<Piece> {
    let (len, rows, width) = (whole.len(), whole.rows(), whole.width());
    let together = whole.together();
    let parts = len.div_ceil(largest.max(1)).max(1);
    let step = rows.div_ceil(parts).max(1).next_multiple_of(together).min(rows.max(1));
    let piece = |first_row: usize| {
        let rows = step.min(rows - first_row);
        Piece {
            tensor,
            first_row,
            rows,
            is_whole: rows == whole.rows(),
            first: first_row * width,
            len: rows * width,
            owner: 0,
        }
    };
    if rows == 0 {
        return vec![Piece { tensor, first_row: 0, rows: 0, is_whole: true, first: 0, len: 0, owner: 0 }];
    }
    (0..rows).step_by(step).map(piece).collect()
}

/// Gives every piece its rank; the most elements that a rank has.
fn to_ranks(pieces: &mut [Piece], ranks: usize) -> usize {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    // Stable: of pieces of a size the first comes first.
    order.sort_by_key(|index| std::cmp::Reverse(pieces[*index].len));
    let mut loads = vec![0usize; ranks.max(1)];
    for index in order {
        let least = (0..loads.len()).min_by_key(|rank| loads[*rank]).unwrap_or(0);
        pieces[index].owner = least;
        loads[least] += pieces[index].len;
    }
    loads.into_iter().max().unwrap_or(0)
}
