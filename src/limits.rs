//! What to ask a device for, and what a rule needs of it.

use crate::error::Error;
use crate::rule::Method;
use crate::shader::{COMBINE_WIDTH, FIXED_BINDINGS, FIXED_STORAGE, SlotLayout, WORKGROUP};
use crate::wrappers::Wrappers;

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

/// The largest binding of a buffer of our own, and the name of the limit that says so.
pub(crate) fn largest_binding(limits: &wgpu::Limits) -> (u64, &'static str) {
    if limits.max_buffer_size < limits.max_storage_buffer_binding_size {
        (limits.max_buffer_size, "max_buffer_size")
    } else {
        (limits.max_storage_buffer_binding_size, "max_storage_buffer_binding_size")
    }
}

/// Refuses what a limit does not allow. `what` says what needs it, and of which unit.
pub(crate) fn need(
    method: &dyn Method,
    what: &str,
    needed: u64,
    limit_name: &'static str,
    limit: u64,
) -> Result<(), Error> {
    if needed <= limit {
        return Ok(());
    }
    let what = format!("rule '{}', {what}", method.name());
    Err(Error::Limit { what, needed, limit_name, limit })
}

/// Decides where the slots live, or says which limit is too small.
pub(crate) fn slot_layout(
    method: &dyn Method,
    depths: Vec<u32>,
    wrappers: Wrappers,
    measures: bool,
    limits: &wgpu::Limits,
) -> Result<SlotLayout, Error> {
    let mut layout = SlotLayout { depths, buffers: 0, wrappers, measures };
    let count = layout.count();
    let buffers = limits.max_storage_buffers_per_shader_stage;
    // All bindings but the record of the step are storage buffers.
    let fixed = layout.first_state_binding(method) - (FIXED_BINDINGS - FIXED_STORAGE);
    let lines = u32::from(layout.has_lines(method));
    let needed = fixed + lines + u32::from(count > 0);
    need(
        method,
        "storage buffers (table, parameters, gradients, norms, slots)",
        needed.into(),
        "max_storage_buffers_per_shader_stage",
        buffers.into(),
    )?;
    // The norms of many tiles are combined by more invocations than one tile has.
    let width = if layout.has_scratch(method) { COMBINE_WIDTH as u32 } else { WORKGROUP };
    let limits = [
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x),
    ];
    for (name, limit) in limits {
        need(method, "invocations a workgroup", width.into(), name, limit.into())?;
    }
    layout.buffers = count.min((buffers - fixed - lines) as usize);
    Ok(layout)
}
