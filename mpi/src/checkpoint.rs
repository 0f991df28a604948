//! Runs that last: each rank saves its share, and any number of ranks goes on from what all saved.

use crate::agree::together;
use crate::error::Error;
use crate::optimizer::ShardedOptimizer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use wgpu_optim::OptimizerState;
use wgpu_optim::rule::Config;

/// A file of a saved run: `step-120.rank-0-of-4.safetensors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    step: u64,
    ranks: usize,
    rank: usize,
}

impl Name {
    fn parse(file: &str) -> Option<Self> {
        let rest = file.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        let (step, rest) = rest.split_once(".rank-")?;
        let (rank, ranks) = rest.split_once("-of-")?;
        Some(Self { step: step.parse().ok()?, ranks: ranks.parse().ok()?, rank: rank.parse().ok()? })
    }

    fn path(self, folder: &Path) -> PathBuf {
        let Self { step, ranks, rank } = self;
        folder.join(format!("step-{step}.rank-{rank}-of-{ranks}.safetensors"))
    }
}

/// Some rows of a tensor, as they were saved.
struct Saved {
    rows: Range<usize>,
    words: Vec<u32>,
}

impl<C: Config> ShardedOptimizer<C> {
    /// Saves the run into a folder that all ranks see: each its share of state and parameters, one safetensors file each, every one
    /// whole or not at all. Once all have saved, older runs in the folder are removed: whenever a rank dies, one whole run is there.
    /// **Submits and waits.**
    ///
    /// # Errors
    /// [`Error::Failed`] on all ranks, naming the first that could not save; [`Error::NoAnswer`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        let step = self.optimizer.steps();
        let own = Name { step, ranks: self.ranks(), rank: self.rank() };
        let write = || -> Result<(), Error> {
            std::fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.into(), source })?;
            Ok(self.optimizer.save_checkpoint_blocking(&self.share, own.path(folder))?)
        };
        together(&self.talk, write())?;
        let remove = || -> Result<(), Error> {
            let is_old = |name: &Name| (name.step, name.ranks) != (own.step, own.ranks);
            for name in names(folder)?.into_iter().filter(is_old) {
                let path = name.path(folder);
                std::fs::remove_file(&path).map_err(|source| Error::File { path, source })?;
            }
            Ok(())
        };
        together(&self.talk, if self.rank() == 0 { remove() } else { Ok(()) })
    }

    /// Goes on from the last run that was saved whole in a folder, by as many ranks as it was: with the bits that it would have had,
    /// where it was shared out by whole tensors. Gives the number of steps that were recorded.
    ///
    /// # Errors
    /// [`Error::Failed`] on all ranks, with what the first said that could not: a share is missing, or the run is another model's or
    /// rule's; the optimizer is then of no more use. [`Error::NoAnswer`].
    pub fn load(&mut self, folder: impl AsRef<Path>) -> Result<u64, Error> {
        let folder = folder.as_ref();
        // Who looks a moment later might find another.
        let chosen = if self.rank() == 0 { last_whole(folder).map(Some) } else { Ok(None) };
        let own = together(&self.talk, chosen)?;
        let told = own.map_or(String::new(), |name| format!("{} {}", name.step, name.ranks));
        let told = self.talk.texts(&told, "which run to go on from")?.swap_remove(0);
        let parsed =
            told.split_once(' ').and_then(|(step, ranks)| Some((step.parse().ok()?, ranks.parse().ok()?)));
        let (step, ranks) = parsed.unwrap_or_default();
        let loaded = self.load_run(folder, Name { step, ranks, rank: 0 });
        together(&self.talk, loaded)?;
        Ok(step)
    }

    /// Reads all shares, one after the other, and takes what is this rank's.
    fn load_run(&mut self, folder: &Path, run: Name) -> Result<(), Error> {
        let refused = |reason: String| Error::Checkpoint { path: folder.into(), reason };
        let own = self.optimizer.read_checkpoint_blocking(&self.share)?;
        let own_about: Value =
            serde_json::from_str(&own.about()).map_err(|error| refused(error.to_string()))?;
        let mut first: Option<(Value, usize)> = None;
        let mut words: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut slots: BTreeMap<(String, usize), Vec<Saved>> = BTreeMap::new();
        let mut elements = vec![0usize; self.model.len()];
        for rank in 0..run.ranks {
            let path = Name { rank, ..run }.path(folder);
            let state = OptimizerState::open(&path)?;
            let about: Value =
                serde_json::from_str(&state.about()).map_err(|error| refused(error.to_string()))?;
            let [its, ours] = [&about, &own_about].map(|about| &about["optimizer"]);
            if its != ours {
                return Err(refused(format!("it is a run of {its}, not of this {ours}")));
            }
            let mut common = 0;
            for (name, values) in state.words() {
                let piece = name.split_once('/').and_then(|(slot, of)| Some((slot, self.piece(of)?)));
                match piece {
                    None => {
                        common += 1;
                        words.insert(name.into(), values.to_vec());
                    }
                    Some(("param", (tensor, rows))) => {
                        elements[tensor] += values.len();
                        self.write_rows(tensor, &rows, values)?;
                    }
                    // A rank's own sum of micro-batches is not saved: save between steps.
                    Some(("grad", _)) => {}
                    Some((slot, (tensor, rows))) if self.is_owned(tensor, &rows) => {
                        let saved = Saved { rows, words: values.to_vec() };
                        slots.entry((slot.into(), tensor)).or_default().push(saved);
                    }
                    Some(_) => {}
                }
            }
            match &first {
                Some((other, _))
                    if other["progress"]["recorded"] != about["progress"]["recorded"]
                        || other["groups"] != about["groups"] =>
                {
                    return Err(refused(format!(
                        "rank {rank} is at another step, or has other options, than rank 0"
                    )));
                }
                // A rank without a share knows no counts.
                Some((_, most)) if *most >= common => {}
                _ => first = Some((about, common)),
            }
        }
        for (whole, elements) in self.model.iter().zip(elements) {
            if whole.len() != elements {
                let (name, wanted) = (&whole.name, whole.len());
                return Err(refused(format!("tensor '{name}' has {elements} elements in it, {wanted} here")));
            }
        }
        let Some((mut about, _)) = first else { return Err(refused("it has no shares".into())) };
        about["tensors"] = own_about["tensors"].clone();
        // Counts are as many as a share has tiles: none of the saved shares is this one.
        about["program"] = Value::from("");
        for (name, own) in own.words() {
            let Some((slot, of)) = name.split_once('/') else { continue };
            let Some((tensor, rows)) = self.piece(of).filter(|_| slot != "param" && slot != "grad") else {
                continue;
            };
            let saved = slots.get(&(slot.to_string(), tensor)).map_or(&[][..], Vec::as_slice);
            let width = self.model[tensor].width();
            let gathered = gather(saved, &rows, width, own.len());
            words.insert(name.into(), gathered.ok_or_else(|| refused(format!("'{name}' is not all there")))?);
        }
        let state = OptimizerState::from_parts(&about.to_string(), words)?;
        self.optimizer.load_state(&state)?;
        self.submit();
        Ok(())
    }

    /// The tensor and the rows that a name means: `w`, `w[0..128]`.
    fn piece(&self, name: &str) -> Option<(usize, Range<usize>)> {
        let tensor = |name: &str| self.model.iter().position(|whole| whole.name == name);
        if let Some(tensor) = tensor(name) {
            return Some((tensor, 0..self.model[tensor].rows()));
        }
        let (name, rows) = name.strip_suffix(']')?.rsplit_once('[')?;
        let (from, to) = rows.split_once("..")?;
        Some((tensor(name)?, from.parse().ok()?..to.parse().ok()?))
    }

    /// Whether some of these rows are of this rank's share.
    fn is_owned(&self, tensor: usize, rows: &Range<usize>) -> bool {
        self.pieces.iter().any(|piece| {
            let own = piece.first_row..piece.first_row + piece.rows;
            let touches = own.start < rows.end && rows.start < own.end || own == *rows;
            piece.tensor == tensor && piece.owner == self.rank() && touches
        })
    }
}

/// The words of some rows, of `width` elements each, from pieces that have them.
fn gather(saved: &[Saved], rows: &Range<usize>, width: usize, len: usize) -> Option<Vec<u32>> {
    // As it was saved: also what has no rows, such as the averages of a factored slot.
    if let Some(same) = saved.iter().find(|saved| saved.rows == *rows) {
        return (same.words.len() == len).then(|| same.words.clone());
    }
    // Values of a ring lie one behind the other, each with all rows.
    let depth = len.checked_div(rows.len() * width)?;
    let mut gathered = vec![0; len];
    let mut found = 0;
    for piece in saved {
        let (first, last) = (piece.rows.start.max(rows.start), piece.rows.end.min(rows.end));
        for value in (0..depth).filter(|_| first < last) {
            let from = (value * piece.rows.len() + first - piece.rows.start) * width;
            let to = (value * rows.len() + first - rows.start) * width;
            let count = (last - first) * width;
            gathered.get_mut(to..to + count)?.copy_from_slice(piece.words.get(from..from + count)?);
        }
        found += last.saturating_sub(first);
    }
    (found == rows.len()).then_some(gathered)
}

/// The files of saved runs in a folder.
fn names(folder: &Path) -> Result<Vec<Name>, Error> {
    let failed = |source| Error::File { path: folder.into(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut names = vec![];
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.extend(name.to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

/// The last run of which every share is there.
fn last_whole(folder: &Path) -> Result<Name, Error> {
    let names = names(folder)?;
    let whole = names.chunk_by(|a, b| (a.step, a.ranks) == (b.step, b.ranks)).rev();
    if let Some(run) = whole.clone().find(|run| run.len() == run[0].ranks) {
        return Ok(run[0]);
    }
    let reason = match whole.clone().next() {
        None => "there is none".to_string(),
        Some(run) => {
            let missing: Vec<String> = (0..run[0].ranks)
                .filter(|rank| run.iter().all(|name| name.rank != *rank))
                .map(|rank| rank.to_string())
                .collect();
            format!(
                "step {}: the share of rank {} of {} is missing",
                run[0].step,
                missing.join(", "),
                run[0].ranks
            )
        }
    };
    Err(Error::Checkpoint { path: folder.into(), reason })
}
