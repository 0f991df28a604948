//! Creation calls under error scopes, so that a refusal becomes an [`Error`] and not the host's
//! uncaptured error.

use crate::error::Error;
use futures::FutureExt;

/// Runs `create` under validation and out-of-memory scopes.
///
/// On native backends the scopes answer at once. In a browser they answer later: there a refusal
/// reaches the host's uncaptured-error handler, as for any other WebGPU call.
pub(crate) fn guarded<T>(device: &wgpu::Device, what: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let made = create();
    let validation = validation.pop().now_or_never().flatten();
    let memory = memory.pop().now_or_never().flatten();
    let reason = |error: wgpu::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match (validation, memory) {
        (None, None) => alive(device).map(|()| made),
        (Some(error), _) => Err(Error::Shader { rule: what.into(), reason: reason(error) }),
        (None, Some(error)) => Err(Error::OutOfMemory { what: what.into(), reason: reason(error) }),
    }
}

/// Error scopes do not see that a device is lost; a buffer that cannot be mapped shows it.
fn alive(device: &wgpu::Device) -> Result<(), Error> {
    let probe = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim: probe"),
        size: 4,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let mapped = probe.get_mapped_range_mut(..).map(drop);
    mapped.map_err(|error| Error::DeviceLost { reason: error.to_string() })
}
