//! What a device allows, in WebGPU's words.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// The limits of a device that decide what a [`Program`](crate::program::Program) looks like; the names are WebGPU's.
/// The default is what WebGPU guarantees on every device.
///
/// ```
/// use wgpu_optim::program::Limits;
/// assert_eq!(Limits::default().max_storage_buffer_binding_size, 128 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of the largest buffer.
    pub max_buffer_size: u64,
    /// Bytes of the largest storage binding.
    pub max_storage_buffer_binding_size: u64,
    /// Alignment of a storage binding's offset, in bytes.
    pub min_storage_buffer_offset_alignment: u32,
    /// Storage buffers that one shader may bind.
    pub max_storage_buffers_per_shader_stage: u32,
    /// Workgroups of a dispatch in one dimension.
    pub max_compute_workgroups_per_dimension: u32,
    /// Invocations of a workgroup.
    pub max_compute_invocations_per_workgroup: u32,
    /// Invocations of a workgroup in the first dimension.
    pub max_compute_workgroup_size_x: u32,
    /// Whether one dispatch may bind overlapping ranges of a buffer to write. Vulkan, Metal, DX12 and GL let it, WebGPU in a
    /// browser does not. It matters where parameters and gradients lie in one buffer, range by range.
    pub overlapping_bindings: bool,
    /// Whether the device is a CPU that runs invocations in turn, and wants long runs of neighbours in each.
    pub software: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_buffer_size: 256 << 20,
            max_storage_buffer_binding_size: 128 << 20,
            min_storage_buffer_offset_alignment: 256,
            max_storage_buffers_per_shader_stage: 8,
            max_compute_workgroups_per_dimension: 65535,
            max_compute_invocations_per_workgroup: 256,
            max_compute_workgroup_size_x: 256,
            overlapping_bindings: false,
            software: false,
        }
    }
}

impl Limits {
    /// The largest binding of a buffer of our own, and the name of the limit that says so.
    pub(crate) fn largest_binding(&self) -> (u64, &'static str) {
        if self.max_buffer_size < self.max_storage_buffer_binding_size {
            (self.max_buffer_size, "max_buffer_size")
        } else {
            (self.max_storage_buffer_binding_size, "max_storage_buffer_binding_size")
        }
    }
}

/// Refuses what a limit does not allow. `what` says what needs it, and of which unit.
pub(crate) fn need(
    rule: &str,
    what: &str,
    needed: u64,
    limit_name: &'static str,
    limit: u64,
) -> Result<(), Error> {
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Limit { what: format!("rule '{rule}', {what}"), needed, limit_name, limit })
}
