//! The terms of all tiles, which ranks bring together between the passes of a step: who sends how many, and in which order one
//! device would have them.

use crate::buckets::starts;
use crate::deal::{Piece, Whole};
use crate::error::Error;
use crate::talk::Talk;
use std::collections::HashMap;
use wgpu_optim::program::Part;

/// What an exchange brings together.
#[derive(Debug)]
pub struct Terms {
    /// Words that come from each rank.
    pub counts: Vec<i32>,
    /// Of each tensor in the model's order: where its words begin in what came, and how many they are.
    order: Vec<(usize, usize)>,
}

impl Terms {
    /// A piece's tiles, of `words` each, come from its owner, in the order of that one's share.
    pub fn new(
        talk: &Talk,
        model: &[Whole],
        pieces: &[Piece],
        part: Option<&Part>,
        words: usize,
    ) -> Result<Self, Error> {
        let tiles: HashMap<&str, usize> = part
            .iter()
            .flat_map(|part| &part.tiles)
            .map(|(name, tiles)| (name.as_str(), *tiles as usize * words))
            .collect();
        let mut lens = vec![0usize; talk.ranks()];
        let mut within = HashMap::new();
        for piece in pieces {
            let name = piece.name(model);
            let len = tiles.get(name.as_str()).copied().unwrap_or(0);
            within.insert(name, (piece.owner, lens[piece.owner], len));
            lens[piece.owner] += len;
        }
        // Every rank says how many it has.
        let told = talk.texts(&lens[talk.rank()].to_string(), "how many terms there are")?;
        let counts: Vec<i32> = told.iter().map(|text| text.parse().unwrap_or(0)).collect();
        let starts = starts(&counts);
        let place = |(name, _): &(String, u32)| {
            let (owner, at, len) = within.get(name).copied().unwrap_or_default();
            (starts[owner] as usize + at, len)
        };
        let order = part.iter().flat_map(|part| &part.tiles).map(place).collect();
        Ok(Self { counts, order })
    }

    /// What came from the ranks, as one device would have it.
    pub fn in_order(&self, came: &[u32]) -> Vec<u32> {
        self.order.iter().flat_map(|(at, len)| &came[*at..at + len]).copied().collect()
    }
}
