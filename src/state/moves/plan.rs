//! The plan of a move: which words of the old buffers go where in the new ones.

use super::{Bound, Change, FRESH, Gather, List, Moves, NONE, Side};
use crate::error::Error;
use crate::program::{
    ELEMENT, Limits, Persistent, Place, Program, Progress, Ring, Slice, Tensor, VEC4, fold,
};

/// Of a chunk's width: the words are those of a slot, as in `shaders/moves/gather.wgsl`.
const OF_SLOT: u32 = 1 << 31;
/// Elements of a chunk.
const CHUNK: u64 = 4096;

macro_rules! single {
    ($side:literal) => {
        concat!(
            include_str!("../../../shaders/moves/gather.wgsl"),
            "const SIDE: u32 = ",
            $side,
            "u;\n",
            include_str!("../../../shaders/moves/gather_single.wgsl")
        )
    };
}

const SINGLE: &str = single!("64");
/// A CPU takes eight invocations at once, and one word as fast as another.
const ON_CPU: &str = single!("8");
const QUADS: &str = concat!(
    include_str!("../../../shaders/moves/gather.wgsl"),
    "\n",
    include_str!("../../../shaders/moves/gather_vec4.wgsl")
);

/// Chunks of a pass to be, their places counted from the start of their buffers.
struct Draft {
    list: Bound,
    /// Whether words are moved four at a time.
    quads: bool,
    rows: u64,
    from: Slice,
    to: Slice,
    /// First new and old element; the rest as in [`Gather`].
    chunks: Vec<(u64, u64, [u32; 8])>,
}

/// What rows are moved.
#[derive(Clone, Copy)]
struct Rows {
    list: Bound,
    /// Elements of a row, and OF_SLOT.
    width: u32,
    /// Rows of the old tensor.
    rows: u32,
}

pub(super) struct Plan<'a> {
    old: Side<'a>,
    new: Side<'a>,
    limits: &'a Limits,
    moves: Moves,
    drafts: Vec<Draft>,
    /// Why not, in words.
    pub differences: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Nothing is moved yet.
    pub fn new(old: Side<'a>, new: Side<'a>, limits: &'a Limits) -> Self {
        Self { old, new, limits, moves: Moves::default(), drafts: vec![], differences: vec![] }
    }

    /// Everything of a tensor of the new set.
    ///
    /// # Errors
    /// [`Error::Limit`] for a list longer than a binding.
    pub fn tensor(&mut self, index: usize, changes: &[Change]) -> Result<(), Error> {
        let tensor = &self.new.tensors.tensors()[index];
        let find = |name: &str| self.old.tensors.tensors().iter().position(|tensor| tensor.name == name);
        let change = changes.iter().find(|change| change.tensor == tensor.name);
        let taken = match change {
            Some(Change { from: None, .. }) => return Ok(()),
            Some(Change { from: Some(taken), .. }) => taken,
            None => {
                let Some(from) = find(&tensor.name) else { return Ok(()) };
                let before = &self.old.tensors.tensors()[from];
                if before.shape == tensor.shape {
                    self.whole(from, index);
                } else {
                    self.differences.push(format!(
                        "'{}' had shape {:?} and has {:?}: which rows it takes over has to be said",
                        tensor.name, before.shape, tensor.shape
                    ));
                }
                return Ok(());
            }
        };
        let Some(from) = find(&taken.tensor) else {
            self.differences
                .push(format!("'{}' takes over rows of '{}', which is not there", tensor.name, taken.tensor));
            return Ok(());
        };
        let before = &self.old.tensors.tensors()[from];
        match check_rows(tensor, before, &taken.rows, self.is_factored(from, index)) {
            Err(difference) => self.differences.push(difference),
            Ok(()) => self.rows(from, index, &taken.rows)?,
        }
        Ok(())
    }

    /// Whether one of them has slots with a value a row or a column.
    fn is_factored(&self, old: usize, new: usize) -> bool {
        let places =
            [&self.old.program.tensors[old], &self.new.program.tensors[new]].map(|tensor| tensor.factored);
        places.iter().flatten().flatten().any(|(_, count)| *count > 0)
    }

    /// Every run of words that both have, parameters and gradients first: old slices, new slices, and whether they are of a
    /// slot.
    fn streams(&self, old: usize, new: usize) -> Vec<(Vec<Slice>, Vec<Slice>, bool)> {
        let places = |side: Side<'_>, index: usize| {
            let tensor = &side.tensors.tensors()[index];
            let (param, grad) = side.tensors.places(tensor);
            let slice = |place: Place| Slice {
                buffer: place.buffer as u32,
                offset: place.offset,
                size: tensor.len as u64 * ELEMENT,
            };
            [vec![slice(param)], vec![slice(grad)]]
        };
        let own = places(self.old, old).into_iter().zip(places(self.new, new));
        let mut streams: Vec<_> = own.map(|(old, new)| (old, new, false)).collect();
        for name in self.new.program.slot_names() {
            let slices = |side: Side<'_>, index: usize| side.program.slot_values(index, name);
            streams.extend(
                slices(self.old, old)
                    .into_iter()
                    .zip(slices(self.new, new))
                    .map(|(old, new)| (old, new, true)),
            );
        }
        streams
    }

    fn whole(&mut self, old: usize, new: usize) {
        for (old, new, _) in self.streams(old, new) {
            copy(&mut self.moves.copies, &old, &new);
        }
        for (old, new) in self.banks(old, new) {
            copy(&mut self.moves.copies, &[old], &[new]);
        }
    }

    /// The two banks of a tensor's counts of steps of its rows, where rows count: old, new.
    fn banks(&self, old: usize, new: usize) -> Vec<(Slice, Slice)> {
        let banks = |side: Side<'_>, index: usize| {
            let counts = side.program.row_masks.as_ref().and_then(|places| places.counts.get(index)).copied();
            counts.into_iter().flat_map(|all| {
                let size = all.size / 2;
                [Slice { size, ..all }, Slice { size, offset: all.offset + size, ..all }]
            })
        };
        banks(self.old, old).zip(banks(self.new, new)).collect()
    }

    fn rows(&mut self, old: usize, new: usize, rows: &List) -> Result<(), Error> {
        let tensor = &self.new.tensors.tensors()[new];
        let width: u64 = tensor.shape[1..].iter().map(|side| *side as u64).product();
        if tensor.len == 0 || width == 0 {
            return Ok(());
        }
        let list = match rows {
            List::OnDevice(number) => Bound::OnDevice(*number),
            List::Rows(rows) => self.list(rows, &tensor.name)?,
        };
        let rows = self.old.tensors.tensors()[old].shape[0] as u32;
        for (old, new, of_slot) in self.streams(old, new) {
            let width = width as u32 | if of_slot { OF_SLOT } else { 0 };
            self.gather(&old, &new, Rows { list, width, rows });
        }
        for (old, new) in self.banks(old, new) {
            self.gather(&[old], &[new], Rows { list, width: 1 | OF_SLOT, rows });
        }
        Ok(())
    }

    /// Puts a list where a pass can bind it; one that is there already is not put there twice.
    fn list(&mut self, rows: &[u32], tensor: &str) -> Result<Bound, Error> {
        let size = rows.len() as u64 * ELEMENT;
        if size > self.limits.max_storage_buffer_binding_size {
            return Err(Error::Limit {
                what: format!("the list of rows of tensor '{tensor}', in bytes"),
                needed: size,
                limit_name: "max_storage_buffer_binding_size",
                limit: self.limits.max_storage_buffer_binding_size,
            });
        }
        let known = self.drafts.iter().map(|draft| draft.list).find(|list| match *list {
            Bound::Lists(at, bytes) => {
                bytes == size && self.moves.lists[(at / ELEMENT) as usize..][..rows.len()] == *rows
            }
            Bound::OnDevice(_) => false,
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let alignment = (self.alignment() / ELEMENT) as usize;
        let at = self.moves.lists.len().next_multiple_of(alignment);
        self.moves.lists.resize(at, 0);
        self.moves.lists.extend_from_slice(rows);
        Ok(Bound::Lists(at as u64 * ELEMENT, size))
    }

    fn alignment(&self) -> u64 {
        u64::from(self.limits.min_storage_buffer_offset_alignment).max(ELEMENT)
    }

    /// Chunks that move rows of what the old slices hold, one behind the other, to the new ones.
    fn gather(&mut self, old: &[Slice], new: &[Slice], kind: Rows) {
        // Parameters lie in slices that no dispatch of a step binds whole.
        let binding = self.limits.max_storage_buffer_binding_size;
        let most = (binding.saturating_sub(self.alignment()) / VEC4 * VEC4).max(VEC4);
        let mut first = 0;
        for to in new.iter().flat_map(|slice| cut(*slice, most)) {
            let mut from_first = 0;
            for from in old.iter().flat_map(|slice| cut(*slice, most)) {
                self.chunks((from, from_first), (to, first), kind);
                from_first += from.size / ELEMENT;
            }
            first += to.size / ELEMENT;
        }
    }

    /// Of slices and the elements of their tensors that they begin with.
    fn chunks(&mut self, (from, from_first): (Slice, u64), (to, first): (Slice, u64), kind: Rows) {
        let Rows { list, width, rows } = kind;
        let count = to.size / ELEMENT;
        if count == 0 || from.size == 0 {
            return;
        }
        let more = count.div_ceil(CHUNK) as usize;
        let (alignment, binding) = (self.alignment(), self.limits.max_storage_buffer_binding_size);
        let fits = |slice: Slice| slice.size + slice.offset % alignment <= binding;
        // The new words start at a vec4, and both buffers end behind one.
        let ends = |side: Side<'_>, slice: Slice| {
            side.program.buffers[slice.buffer as usize].size.is_multiple_of(VEC4)
        };
        let quads = !self.limits.software
            && to.offset.is_multiple_of(VEC4)
            && alignment.is_multiple_of(VEC4)
            && ends(self.old, from)
            && ends(self.new, to);
        let found = self.drafts.iter().position(|draft| {
            (draft.list, draft.quads) == (list, quads)
                && (draft.from.buffer, draft.to.buffer) == (from.buffer, to.buffer)
                && fits(both(draft.from, from))
                && fits(both(draft.to, to))
                && ((draft.chunks.len() + more) * size_of::<[u32; 8]>()) as u64 <= binding
        });
        let draft = match found {
            Some(index) => &mut self.drafts[index],
            None => {
                self.drafts.push(Draft { list, quads, rows: 0, from, to, chunks: vec![] });
                let last = self.drafts.len() - 1;
                &mut self.drafts[last]
            }
        };
        draft.rows = draft.rows.max((first + count).div_ceil(u64::from(width & !OF_SLOT)));
        (draft.from, draft.to) = (both(draft.from, from), both(draft.to, to));
        for done in (0..count).step_by(CHUNK as usize) {
            let words = [
                0,
                (first + done) as u32,
                CHUNK.min(count - done) as u32,
                width,
                0,
                from_first as u32,
                (from.size / ELEMENT) as u32,
                rows,
            ];
            draft.chunks.push((to.offset / ELEMENT + done, from.offset / ELEMENT, words));
        }
    }

    /// What the whole optimizer keeps: device scalars, the loss scale, skipped steps.
    pub fn readings(&mut self) {
        let kept = |program: &Program| -> Vec<Persistent> {
            let named = |name: &str| program.reading(name).is_some();
            program.persistent().into_iter().filter(|words| named(&words.name)).collect()
        };
        for (old, new) in kept(self.old.program).iter().zip(kept(self.new.program)) {
            copy(&mut self.moves.copies, &old.slices, &new.slices);
        }
    }

    /// The counts of the steps taken, which only the device knows, and the host scalars of those to come; what the host
    /// remembers then.
    ///
    /// # Errors
    /// [`Error::Limit`], as [`tensor`](Plan::tensor).
    pub fn counts(&mut self, mut progress: Progress) -> Result<Progress, Error> {
        let Some(word) = self.old.program.windows.first().map(|window| window.counts) else {
            // Nothing was ever counted.
            (progress.made, progress.known, progress.known_at) = (0, 0, progress.recorded);
            progress.memory.fill_with(Default::default);
            return Ok(progress);
        };
        if progress.evaluated.windows(2).any(|pair| pair[0] != pair[1]) {
            self.differences.push("the weights of some groups are for evaluation and of others not".into());
        }
        let word = Slice { size: ELEMENT, ..word };
        for window in &self.new.program.windows {
            let list = self.list(&vec![0; (window.counts.size / ELEMENT) as usize], "counts of steps")?;
            self.gather(&[word], &[window.counts], Rows { list, width: 1, rows: 1 });
        }
        let (from, to) = (&self.old.program.rows.counted, &self.new.program.rows.counted);
        if from.stride == 0 {
            return Ok(progress);
        }
        if self.old.program.rows.ends {
            // For all counts that there are, as the old configurations have them.
            let table = |ring: &Ring, (buffer, offset): (u32, u64)| Slice {
                buffer,
                offset,
                size: ring.stride * u64::from(ring.places),
            };
            if let Some(old) = from.at.first().filter(|_| from.stride == to.stride) {
                let copies = to.at.iter().map(|new| (table(from, *old), table(to, *new)));
                self.moves.copies.extend(copies);
            }
            return Ok(progress);
        }
        let first = progress.known.max(progress.made.saturating_sub(from.places.into()));
        if progress.made - first > to.places.into() || from.stride != to.stride {
            let steps = progress.made - first;
            self.differences.push(format!("there is no room for the host scalars of {steps} steps to come"));
            return Ok(progress);
        }
        for before in first..progress.made {
            let row = |ring: &Ring, (buffer, start): (u32, u64)| Slice {
                buffer,
                offset: start + before % u64::from(ring.places) * ring.stride,
                size: ring.stride,
            };
            if let Some(old) = from.at.first() {
                let copies = to.at.iter().map(|new| (row(from, *old), row(to, *new)));
                self.moves.copies.extend(copies);
            }
        }
        Ok(progress)
    }

    /// Makes places relative to what is bound.
    pub fn finish(self) -> Moves {
        let (alignment, limit) = (self.alignment(), self.limits.max_compute_workgroups_per_dimension);
        let mut moves = self.moves;
        for Draft { list, quads, rows, from, to, chunks } in self.drafts {
            let [from, to] = [from, to].map(|slice| {
                let before = slice.offset % alignment;
                let size = slice.size + before;
                let size = if quads { size.next_multiple_of(VEC4) } else { size };
                Slice { offset: slice.offset - before, size, ..slice }
            });
            let relative = |(new, old, words): (u64, u64, [u32; 8])| {
                let mut words = words;
                words[0] = (new - to.offset / ELEMENT) as u32;
                words[4] = (old - from.offset / ELEMENT) as u32;
                words
            };
            let chunks: Vec<_> = chunks.into_iter().map(relative).collect();
            let workgroups = fold(chunks.len() as u64, limit).into();
            let wgsl = match (quads, self.limits.software) {
                (true, _) => QUADS,
                (false, false) => SINGLE,
                (false, true) => ON_CPU,
            };
            moves.passes.push(Gather { wgsl, chunks, list, rows, from, to, workgroups });
        }
        moves
    }
}

/// Why these rows cannot be taken.
fn check_rows(tensor: &Tensor, from: &Tensor, rows: &List, is_factored: bool) -> Result<(), String> {
    let name = &tensor.name;
    let (Some((count, width)), Some((before, width_before))) =
        (tensor.shape.split_first(), from.shape.split_first())
    else {
        return Err(format!("'{name}' or '{}' is a scalar, which has no rows", from.name));
    };
    if width != width_before {
        return Err(format!("rows of '{name}' have shape {width:?}, of '{}' {width_before:?}", from.name));
    }
    if is_factored {
        return Err(format!(
            "'{name}' has slots for its rows and columns, and averages over columns hold only for the rows that they are of"
        ));
    }
    // What the kernel computes is less than that, and so is a row without its bits.
    if tensor.len.max(from.len) as u64 >= u64::from(FRESH) || *before.max(count) as u64 >= u64::from(FRESH) {
        return Err(format!("'{name}' or '{}' has 2^31 elements or more", from.name));
    }
    let List::Rows(rows) = rows else { return Ok(()) };
    if rows.len() != *count {
        return Err(format!("'{name}' has {count} rows, and its list {}", rows.len()));
    }
    let wrong = rows.iter().position(|row| *row != NONE && (row & !FRESH) as usize >= *before);
    match wrong {
        Some(at) => {
            let row = rows[at] & !FRESH;
            Err(format!("row {at} of '{name}' is row {row} of '{}', which has {before}", from.name))
        }
        None => Ok(()),
    }
}

/// A slice in parts of at most so many bytes.
fn cut(slice: Slice, most: u64) -> impl Iterator<Item = Slice> {
    (0..slice.size).step_by(most as usize).map(move |done| Slice {
        offset: slice.offset + done,
        size: most.min(slice.size - done),
        ..slice
    })
}

/// The shortest slice of a buffer that both are in.
fn both(a: Slice, b: Slice) -> Slice {
    let offset = a.offset.min(b.offset);
    Slice { offset, size: (a.offset + a.size).max(b.offset + b.size) - offset, ..a }
}

/// Copies from slices to slices, each one behind the other, wherever they are cut.
fn copy(copies: &mut Vec<(Slice, Slice)>, old: &[Slice], new: &[Slice]) {
    let (mut old, mut new) = (old.iter().copied(), new.iter().copied());
    let (mut from, mut to) = (old.next(), new.next());
    while let (Some(a), Some(b)) = (from, to) {
        let size = a.size.min(b.size);
        if size > 0 {
            copies.push((Slice { size, ..a }, Slice { size, ..b }));
        }
        let rest = |slice: Slice| Slice { offset: slice.offset + size, size: slice.size - size, ..slice };
        from = Some(rest(a)).filter(|slice| slice.size > 0).or_else(|| old.next());
        to = Some(rest(b)).filter(|slice| slice.size > 0).or_else(|| new.next());
    }
}
