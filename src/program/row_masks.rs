//! Rows of tensors that may rest: where their words are, what a rule must be for it, and for how many counts host scalars
//! are kept where rows count their own steps.

use super::step::Step;
use super::tensors::Tensor;
use super::{ELEMENT, Fill, MaskPlaces, RowMasks, Slice};
use crate::error::Error;
use crate::rule::{Config, FieldKind, HostState, MAX_FIELDS, check_host_scalars};

/// Counts for which host scalars are kept where rows count their own steps.
pub(super) const COUNTS: usize = 1 << 16;
/// What host scalars may still change by afterwards, relative to what they are.
const STILL: f64 = 1e-3;
/// Words from which on a mask can be bound by a kernel of the host's, on every device.
const ALIGNED: u64 = 64;

/// Rows of a tensor, and elements of each.
fn rows_of(tensor: &Tensor) -> (u64, u64) {
    let rows = tensor.shape.first().copied().unwrap_or(1) as u64;
    (rows, tensor.len as u64 / rows.max(1))
}

/// The words of all tensors: masks, then counts.
pub(super) struct RowWords {
    masks: Vec<(u64, u64)>,
    counts: Vec<(u64, u64)>,
    /// In all.
    pub words: u64,
    kind: RowMasks,
    /// For each tensor what `lanes_of` in `shaders/core/row_masks.wgsl` wants to know.
    pub table: Vec<[u32; 4]>,
}

impl RowWords {
    pub fn new(kind: RowMasks, tensors: &[Tensor]) -> Self {
        let mut words = 0;
        let mut place = |count: u64| {
            let first = words;
            words += count.next_multiple_of(ALIGNED);
            (first, count)
        };
        let masks: Vec<_> = tensors.iter().map(|tensor| place(rows_of(tensor).0.div_ceil(32))).collect();
        let banks = if kind == RowMasks::RowSteps { 2 } else { 0 };
        let counts: Vec<_> = tensors.iter().map(|tensor| place(banks * rows_of(tensor).0)).collect();
        let table = tensors.iter().zip(masks.iter().zip(&counts));
        let table = table.map(|(tensor, (mask, counts))| {
            let (rows, elements) = rows_of(tensor);
            [elements, mask.0, counts.0, rows].map(|word| word as u32)
        });
        Self { table: table.collect(), masks, counts, words, kind }
    }

    /// Whether some rows have fewer than three elements.
    pub fn narrow(&self) -> bool {
        self.table.iter().any(|[elements, .., rows]| *elements < 3 && *rows > 0)
    }

    /// Before the first step every row takes part.
    pub fn contents(&self) -> Vec<Fill> {
        self.masks
            .iter()
            .map(|(first, count)| Fill { at: first * ELEMENT, words: vec![u32::MAX], times: *count })
            .collect()
    }

    pub fn places(&self, buffer: u32) -> MaskPlaces {
        let slice =
            |(first, count): &(u64, u64)| Slice { buffer, offset: first * ELEMENT, size: count * ELEMENT };
        let counts = self.counts.iter().filter(|_| self.kind == RowMasks::RowSteps);
        MaskPlaces {
            kind: self.kind,
            masks: self.masks.iter().map(slice).collect(),
            counts: counts.map(slice).collect(),
        }
    }
}

impl Step<'_> {
    /// Refuses rows that rest where a rule would make something else of them.
    pub(super) fn check_row_masks(&self) -> Result<(), Error> {
        let Some(masks) = self.row_masks else { return Ok(()) };
        let own = masks == RowMasks::RowSteps;
        let first = self.spec.fields.iter().any(|field| field.kind == FieldKind::First);
        let reasons = [
            (self.spec.is_factored(), "its averages of rows and columns are those of the whole tensor"),
            (self.has_device_scalars(), "its device scalars follow all elements"),
            (self.spec.converts, "it converts weights, also of rows that never acted"),
            (!own && first, "its first step is another one: rows need `RowMasks::RowSteps`"),
            (own && self.has_ring(), "its ring is that of the whole tensor"),
            (own && self.results().next().is_some(), "its norms are those of the whole tensor"),
            (own && self.wrappers.cautious, "what a cautious step is scaled by is that of the whole tensor"),
        ];
        match reasons.into_iter().find(|(refused, _)| *refused) {
            None => Ok(()),
            Some((_, reason)) => {
                let reason = format!("rows that rest: {reason}");
                Err(Error::Rule { rule: self.spec.name.into(), reason })
            }
        }
    }

    /// Refuses groups whose host scalars still change after the last count for which there are rows.
    pub(super) fn check_counts_end<C: Config>(&self, groups: &[C], labels: &[String]) -> Result<(), Error> {
        if !self.rows_count() {
            return Ok(());
        }
        for (group, label) in groups.iter().zip(labels) {
            let (rule, mut state) = (group.rule(), HostState::default());
            let fields = rule.spec().fields;
            let mut ends = vec![];
            for t in 1..=2 * COUNTS as u64 {
                let mut values = [0f64; MAX_FIELDS];
                let values = &mut values[..fields.len()];
                rule.host_scalars(t, &mut state, values);
                check_host_scalars(fields, values, t)
                    .map_err(|refusal| Error::Config { group: label.clone(), refusal })?;
                if t == COUNTS as u64 || t == 2 * COUNTS as u64 {
                    ends.push(values.to_vec());
                }
            }
            let changes =
                |index: usize| (ends[0][index] - ends[1][index]).abs() > STILL * ends[1][index].abs();
            let counted = fields.iter().enumerate().filter(|(_, field)| field.kind.is_counted());
            if let Some((index, field)) = counted.into_iter().find(|(index, _)| changes(*index)) {
                let reason = format!(
                    "rows that count their own steps: in group '{label}' its {} is {:e} after {COUNTS} steps and {:e} \
                     after twice as many, and what it is at first is kept for all that follow",
                    field.name, ends[0][index], ends[1][index]
                );
                return Err(Error::Rule { rule: self.spec.name.into(), reason });
            }
        }
        Ok(())
    }
}
