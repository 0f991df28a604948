//! The counts of the steps taken, and the host scalars of those to come: of all groups together, or of each tensor that counts
//! its own steps.

use super::differences::Differences;
use super::{EVALUATES, OptimizerState, ROWS, STEPS, refused};
use crate::error::Error;
use crate::program::{Counts, Program, Progress, Slice};

/// Of a tensor that counts its own steps: how many it has taken, and the host scalars of those to come.
const OWN_STEPS: &str = "own_steps/";
const OWN_ROWS: &str = "own_rows/";

/// Where a program has counts and rows.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Rows that the ring holds.
    rows: u64,
    /// The tensors that count their own steps, each with the window and the word of its count; none for one without elements.
    owners: Vec<(String, Option<(usize, usize)>)>,
}

impl Places {
    pub fn of(program: &Program) -> Self {
        let place = |counts: &Slice| {
            let window = program.windows.iter().position(|window| window.table == counts.buffer)?;
            let behind = counts.offset.checked_sub(program.windows[window].counts.offset)?;
            Some((window, behind as usize / 4))
        };
        let owners = program.tensors.iter().zip(&program.rows.owners);
        let owners =
            owners.map(|(tensor, owner)| (tensor.name.clone(), owner.counts.first().and_then(place)));
        Self { rows: program.rows.counted.places.into(), owners: owners.collect() }
    }
}

/// Words of host scalars for one count: of all groups, or of one tensor that counts its own steps.
pub(super) fn row_of(program: &Program) -> u64 {
    program.rows.counted.stride / 4 / program.rows.owners.len().max(1) as u64
}

impl OptimizerState {
    /// Whether tensors count their own steps.
    pub(super) fn has_own_steps(&self) -> bool {
        !self.about.progress.tensors.is_empty()
    }

    /// Steps that the device had taken; where tensors count their own, those of the one that took most.
    pub fn taken(&self) -> u64 {
        let first = |words: &Vec<u32>| u64::from(words.first().copied().unwrap_or(0) & !EVALUATES);
        if self.has_own_steps() {
            let own = self.words.iter().filter(|(name, _)| name.starts_with(OWN_STEPS));
            return own.map(|(_, words)| first(words)).max().unwrap_or(0);
        }
        self.words.get("steps/0").map_or(0, first)
    }

    /// The counts for which rows are kept, of one who has taken so many steps and made rows for so many.
    fn rows_kept(&self, taken: u64, made: u64) -> std::ops::Range<u64> {
        let first = if self.about.ends { 0 } else { taken };
        if self.about.row == 0 { 0..0 } else { first..made.max(first) }
    }

    /// Of the ring of rows only those are kept that counts to come will need.
    pub(super) fn keep_rows_to_come(&mut self, places: &Places) {
        let ring = self.words.remove("rows/0").unwrap_or_default();
        let row = self.about.row as usize;
        if !self.has_own_steps() {
            let kept = self.rows_kept(self.taken(), self.about.progress.made);
            let rows = kept.flat_map(|before| ring[(before % places.rows) as usize * row..][..row].to_vec());
            let rows: Vec<u32> = rows.collect();
            if row > 0 {
                self.words.insert("rows".into(), rows);
            }
            return;
        }
        for (index, (name, place)) in places.owners.iter().enumerate() {
            let made = self.about.progress.tensors[index].made;
            let word =
                place.and_then(|(window, word)| self.words.get(&format!("{STEPS}{window}"))?.get(word));
            let taken = word.map_or(made, |word| u64::from(word & !EVALUATES));
            let all = row * places.owners.len();
            let rows = self.rows_kept(taken, made).flat_map(|before| {
                ring[(before % places.rows) as usize * all + index * row..][..row].iter().copied()
            });
            let rows: Vec<u32> = rows.collect();
            self.words.insert(format!("{OWN_STEPS}{name}"), vec![taken as u32]);
            self.words.insert(format!("{OWN_ROWS}{name}"), rows);
        }
    }

    /// Refuses counts and rows that do not belong together.
    pub(super) fn check_counts(&self) -> Result<(), Error> {
        let check = |what: &str, taken: u64, made: u64, rows: usize| {
            let recorded = self.recorded();
            if taken > recorded || self.about.row > 0 && taken > made {
                return Err(refused(format!(
                    "{taken} steps{what} were taken, of {recorded} that were recorded"
                )));
            }
            let kept = self.rows_kept(taken, made);
            let wanted = (kept.end - kept.start).checked_mul(self.about.row);
            if wanted != Some(rows as u64) {
                let steps = kept.end - kept.start;
                return Err(refused(format!(
                    "it has {rows} words of host scalars{what} for {steps} steps to come"
                )));
            }
            Ok(())
        };
        let words = |name: &str| self.get(name).unwrap_or_default();
        if !self.has_own_steps() {
            return check("", self.taken(), self.about.progress.made, words("rows").len());
        }
        let (tensors, counts) = (&self.about.tensors, &self.about.progress.tensors);
        if tensors.len() != counts.len() {
            return Err(refused(format!("it has {} tensors and {} counts", tensors.len(), counts.len())));
        }
        for (tensor, counts) in tensors.iter().zip(counts) {
            let name = &tensor.name;
            let [taken] = words(&format!("{OWN_STEPS}{name}")) else {
                return Err(refused(format!("the count of '{name}' is not in it")));
            };
            let rows = words(&format!("{OWN_ROWS}{name}")).len();
            check(&format!(" of '{name}'"), u64::from(*taken), counts.made, rows)?;
        }
        Ok(())
    }

    /// The counts of the steps taken, in every window, and the rows of those to come; what the clock, which is at `now`, has to
    /// go on from.
    pub(super) fn put_counts(
        &self,
        program: &Program,
        now: &Progress,
        differences: &mut Differences,
        writes: &mut Vec<(Slice, Vec<u32>)>,
    ) -> Progress {
        let same = self.about.program == format!("{:016x}", program.hash());
        let taken = self.taken();
        let held =
            || self.words.iter().filter(|(name, _)| name.starts_with(STEPS)).flat_map(|(_, words)| words);
        let own_steps = self.has_own_steps();
        // Invocations without a tile never count.
        let converted = |word: &u32| word & EVALUATES != 0 || !own_steps && ![0, taken as u32].contains(word);
        if !same && held().any(converted) {
            differences.add(
                "some weights are for evaluation, which another program cannot take over: save while training".into(),
            );
        }
        let mut progress = self.about.progress.clone();
        // What a rule remembers belongs to a group, which is known by its name.
        let group = |name: &String| self.about.groups.iter().position(|group| group.name == *name);
        let of_groups = program.groups.iter().map(group);
        progress.evaluated = of_groups
            .clone()
            .map(|index| {
                index.and_then(|index| self.about.progress.evaluated.get(index)).copied().unwrap_or(false)
            })
            .collect();
        for (index, window) in program.windows.iter().enumerate() {
            let count = window.counts.size as usize / 4;
            let own = self.get(&format!("{STEPS}{index}")).filter(|words| same && words.len() == count);
            let words = own.map(<[u32]>::to_vec).or_else(|| (!own_steps).then(|| vec![taken as u32; count]));
            writes.extend(words.map(|words| (window.counts, words)));
        }
        if own_steps {
            self.put_own_counts(program, now, differences, writes, &mut progress);
            return progress;
        }
        let memory = |index: Option<usize>| self.about.progress.memory.get(index?).copied();
        progress.memory = of_groups.map(|index| memory(index).unwrap_or_default()).collect();
        let kept = self.rows_kept(taken, progress.made);
        if kept.end > kept.start && !self.has_room(program, &kept) {
            let steps = kept.end - kept.start;
            differences.add(format!("there is no room for the host scalars of {steps} steps to come"));
            (progress.made, progress.known, progress.known_at) = (taken, taken, progress.recorded);
            return progress;
        }
        put_rows(program, kept, self.get("rows").unwrap_or_default(), 0, self.about.row, writes);
        progress
    }

    /// The same of tensors that count their own steps. Those that are not in the state stay as they are.
    fn put_own_counts(
        &self,
        program: &Program,
        now: &Progress,
        differences: &mut Differences,
        writes: &mut Vec<(Slice, Vec<u32>)>,
        progress: &mut Progress,
    ) {
        progress.recorded = progress.recorded.max(now.recorded);
        (progress.memory, progress.tensors) = (vec![], vec![]);
        for (index, (tensor, owner)) in program.tensors.iter().zip(&program.rows.owners).enumerate() {
            let like = |saved: &super::Tensor| saved.name == tensor.name && saved.shape == tensor.shape;
            let saved = self.about.tensors.iter().position(like);
            let counts = saved.map(|saved| self.about.progress.tensors[saved]);
            let kept = counts.map(|counts| self.rows_kept(self.own_taken(&tensor.name), counts.made));
            let fits =
                kept.as_ref().is_some_and(|kept| kept.end == kept.start || self.has_room(program, kept));
            let (Some(saved), Some(counts), Some(kept), true) = (saved, counts, kept, fits) else {
                if saved.is_some() {
                    let name = &tensor.name;
                    differences.add(format!("there is no room for the host scalars of '{name}' to come"));
                }
                progress.memory.push(now.memory.get(index).copied().unwrap_or_default());
                progress.tensors.push(now.tensors.get(index).copied().unwrap_or_default());
                continue;
            };
            let taken = self.own_taken(&tensor.name) as u32;
            let counters = owner.counts.iter().map(|slice| (*slice, vec![taken; slice.size as usize / 4]));
            writes.extend(counters);
            let rows = self.get(&format!("{OWN_ROWS}{}", tensor.name)).unwrap_or_default();
            put_rows(program, kept, rows, index, self.about.row, writes);
            progress.memory.push(self.about.progress.memory.get(saved).copied().unwrap_or_default());
            progress.tensors.push(counts);
        }
        let largest = |count: fn(&Counts) -> u64| progress.tensors.iter().map(count).max().unwrap_or(0);
        let [made, known, known_at] = [
            largest(|counts| counts.made),
            largest(|counts| counts.known),
            largest(|counts| counts.known_at),
        ];
        (progress.made, progress.known, progress.known_at) = (made, known, known_at);
    }

    fn own_taken(&self, tensor: &str) -> u64 {
        self.get(&format!("{OWN_STEPS}{tensor}"))
            .and_then(|words| words.first())
            .map_or(0, |word| u64::from(*word))
    }

    fn has_room(&self, program: &Program, kept: &std::ops::Range<u64>) -> bool {
        let places = u64::from(program.rows.counted.places);
        row_of(program) == self.about.row
            && kept.end - kept.start <= places
            && (!self.about.ends || kept.end <= places)
    }
}

/// Rows of `row` words each, of one owner, into every window's ring.
fn put_rows(
    program: &Program,
    kept: std::ops::Range<u64>,
    rows: &[u32],
    owner: usize,
    row: u64,
    writes: &mut Vec<(Slice, Vec<u32>)>,
) {
    let ring = &program.rows.counted;
    for (before, words) in kept.zip(rows.chunks_exact(row.max(1) as usize)) {
        for (buffer, start) in &ring.at {
            let place = before % u64::from(ring.places.max(1));
            let offset = start + place * ring.stride + owner as u64 * row * 4;
            writes.push((Slice { buffer: *buffer, offset, size: row * 4 }, words.to_vec()));
        }
    }
}

/// Whether words of this name are counts or rows.
pub(super) fn is_of_counts(name: &str) -> bool {
    [STEPS, ROWS, OWN_STEPS, OWN_ROWS].iter().any(|start| name.starts_with(start)) || name == "rows"
}
