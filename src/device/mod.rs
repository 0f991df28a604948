//! The executor on wgpu: makes the objects of a [`Program`](crate::program::Program) and records its passes. It knows no
//! rule, no wrapper and no kind of pass.

#[cfg(all(feature = "checkpoint", not(target_arch = "wasm32")))]
mod checkpoint;
mod count;
mod moves;
mod objects;
mod optimizer;
mod params;
mod parts;
mod readback;
mod readings;
mod row_masks;
mod scope;
mod snapshots;
mod state;

pub use moves::Changes;
pub use optimizer::{Optimizer, PreparedStep};
pub use params::{BufferRange, GroupId, ParamSet, ParamSetBuilder, TensorId};
pub use parts::PreparedPart;
pub use readback::Download;
pub use snapshots::Snapshots;
pub use state::StateDownload;
#[cfg(feature = "validate")]
pub(crate) use {readback::copy_out, scope::guarded};

use crate::program::Limits;

/// What engines move between threads.
#[cfg(not(target_arch = "wasm32"))]
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Optimizer<crate::AnyRule>>();
    is_send_and_sync::<ParamSet>();
    is_send_and_sync::<Download>();
    is_send_and_sync::<crate::program::Program>();
    is_send_and_sync::<crate::program::Clock<crate::AnyRule>>();
};

/// The limits to request: WebGPU's defaults, with the adapter's own sizes of buffers and bindings, which
/// decide how many parameters one dispatch reaches. Never above what the adapter has.
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let available = adapter.limits();
    wgpu::Limits {
        max_buffer_size: available.max_buffer_size,
        max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
        ..wgpu::Limits::default().or_worse_values_from(&available)
    }
}

/// The features to request: none. Every adapter that WebGPU reaches will do.
pub fn required_features(_adapter: &wgpu::Adapter) -> wgpu::Features {
    wgpu::Features::empty()
}

impl Limits {
    /// The limits of a device, as a program is made for them.
    pub fn of(device: &wgpu::Device) -> Self {
        let limits = device.limits();
        Self {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x,
            overlapping_bindings: device.adapter_info().backend != wgpu::Backend::BrowserWebGpu,
            software: device.adapter_info().device_type == wgpu::DeviceType::Cpu,
        }
    }
}
