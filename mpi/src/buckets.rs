//! Pieces in buckets: what goes over the wire at once, in the order of owners. Pure.

use crate::deal::Piece;

/// Pieces that travel together, those of rank 0 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Indices of pieces, by owner and then in their order.
    pub pieces: Vec<usize>,
    /// Elements of each rank.
    pub counts: Vec<i32>,
    /// Where each rank's begin.
    pub starts: Vec<i32>,
}

impl Bucket {
    /// Elements.
    pub fn len(&self) -> usize {
        self.counts.iter().map(|count| *count as usize).sum()
    }
}

/// Deals pieces, in the order of the model, into buckets of about `elements`; a larger piece has one of its own.
pub fn buckets(pieces: &[Piece], ranks: usize, elements: usize) -> Vec<Bucket> {
    let mut all = vec![];
    let mut own: Vec<usize> = vec![];
    let mut len = 0;
    for (index, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.len > 0) {
        if !own.is_empty() && len + piece.len > elements {
            all.push(bucket(pieces, std::mem::take(&mut own), ranks));
            len = 0;
        }
        own.push(index);
        len += piece.len;
    }
    if !own.is_empty() {
        all.push(bucket(pieces, own, ranks));
    }
    all
}

fn bucket(pieces: &[Piece], mut own: Vec<usize>, ranks: usize) -> Bucket {
    own.sort_by_key(|index| (pieces[*index].owner, *index));
    let mut counts = vec![0; ranks];
    own.iter().for_each(|index| counts[pieces[*index].owner] += pieces[*index].len as i32);
    Bucket { pieces: own, starts: starts(&counts), counts }
}

/// Where each part begins, one behind the other.
pub fn starts(counts: &[i32]) -> Vec<i32> {
    counts
        .iter()
        .scan(0, |at, count| {
            let start = *at;
            *at += count;
            Some(start)
        })
        .collect()
}
