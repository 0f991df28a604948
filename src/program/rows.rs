//! Where the host scalars of a step lie in a group's rows.

use super::step::Step;
use crate::rule::FieldKind;
use serde::{Deserialize, Serialize};

/// Where a field of `Hyper` is: in which of a group's rows, at which word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldPlace {
    /// In the row of what is set.
    Now(u32),
    /// In the row of what follows from the number of steps taken.
    Counted(u32),
    /// Nowhere: the device finds it.
    Device,
}

/// The words of a group's two rows in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowLayout {
    /// For each field of `Hyper` its name and its place, in order.
    pub fields: Vec<(String, FieldPlace)>,
    /// The word of the row of what is set that holds the length of the group's rings, where there are rings.
    pub ring: Option<u32>,
    /// The word of that row which is 1 where weights are wanted for evaluation, of a rule that converts them.
    pub evaluates: Option<u32>,
    /// The word of that row which is 1 where the tensor is left out of the step, where each tensor counts its own steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests: Option<u32>,
    /// Vec4 of a group's row of what is set; at least one.
    pub now_vec4: u32,
    /// Vec4 of a group's row of what follows from the number of steps taken; none where nothing does.
    pub counted_vec4: u32,
}

impl RowLayout {
    /// The rows of a step whose streams are known.
    pub(crate) fn new(step: &Step<'_>) -> Self {
        let (mut now, mut counted) = (0u32, 0u32);
        let next = |words: &mut u32| {
            *words += 1;
            *words - 1
        };
        let mut place = |kind: FieldKind| match kind {
            kind if kind.is_of_now() => FieldPlace::Now(next(&mut now)),
            kind if kind.is_counted() => FieldPlace::Counted(next(&mut counted)),
            _ => FieldPlace::Device,
        };
        let fields =
            step.spec.fields.iter().map(|field| (field.name.to_string(), place(field.kind))).collect();
        let ring = step.has_ring().then(|| next(&mut now));
        let evaluates = step.spec.converts.then(|| next(&mut now));
        let rests = step.own_steps.then(|| next(&mut now));
        let (now_vec4, counted_vec4) = (now.div_ceil(4).max(1), counted.div_ceil(4));
        Self { fields, ring, evaluates, rests, now_vec4, counted_vec4 }
    }
}
