//! The record of one recorded step: what the host says of it beside the groups' host scalars.

use crate::wrappers::{Lookahead, Wrappers};

/// Bytes of a record.
pub(crate) const RECORD_BYTES: u64 = std::mem::size_of::<Record>() as u64;
/// Bytes from a record to the next: where a dynamic offset may point.
pub(crate) const RECORD_STRIDE: u64 = 256;

/// `struct Now` of `shaders/core/now.wgsl`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Record {
    /// Vec4 from the table's first row to the rows of this step.
    pub rows: u32,
    /// 0 where the step only converts weights.
    pub trains: u32,
    /// Steps between Lookahead's synchronisations.
    pub k: u32,
    /// Steps without an overflow before the loss scale grows; 0 without loss scaling.
    pub interval: u32,
    /// Lookahead's share of the way forward.
    pub alpha: f32,
    /// What an average of the weights takes of the new ones.
    pub one_minus_decay: f32,
    /// Largest norm of all gradients.
    pub max_norm: f32,
    /// Largest magnitude of a gradient.
    pub max_value: f32,
    /// Largest norm of a tensor's gradient.
    pub max_tensor_norm: f32,
    /// What the sum of the micro-batches' gradients is multiplied by.
    pub average: f32,
    /// Growth of the loss scale.
    pub growth: f32,
    /// Back-off of the loss scale.
    pub backoff: f32,
}

impl Record {
    /// The record of a step with these wrappers, whose rows start at vec4 `rows`.
    pub fn new(wrappers: &Wrappers, rows: u32, trains: bool) -> Self {
        let Lookahead { k, alpha } = wrappers.lookahead.unwrap_or_default();
        let [max_norm, max_tensor_norm, max_value] = wrappers.largest().map(|limit| limit as f32);
        let scale = wrappers.loss_scale;
        Self {
            rows,
            trains: trains.into(),
            // A longer interval than a count of steps can reach is never over.
            k: k.clamp(1, u64::from(u32::MAX)) as u32,
            interval: scale.map_or(0, |scale| scale.interval),
            alpha: alpha as f32,
            one_minus_decay: (1.0 - wrappers.ema.unwrap_or(0.0)) as f32,
            max_norm,
            max_value,
            max_tensor_norm,
            average: wrappers.average() as f32,
            growth: scale.map_or(1.0, |scale| scale.growth) as f32,
            backoff: scale.map_or(1.0, |scale| scale.backoff) as f32,
        }
    }
}
