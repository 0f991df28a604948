//! Creation calls under error scopes, so that a refusal becomes an [`Error`] and not the host's
//! uncaptured error.

use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use futures::FutureExt;

/// Runs `create` under validation and out-of-memory scopes.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn guarded<T>(device: &wgpu::Device, what: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let made = create();
    let validation = validation.pop().now_or_never().flatten();
    let memory = memory.pop().now_or_never().flatten();
    let reason = |error: wgpu::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match (validation, memory) {
        (None, None) => alive(device).map(|()| made),
        (Some(error), _) => Err(Error::Refused { what: what.into(), reason: reason(error) }),
        (None, Some(error)) => Err(Error::OutOfMemory { what: what.into(), reason: reason(error) }),
    }
}

/// A browser's scopes answer later than anybody may wait here, so there are none: a refusal reaches the host's
/// uncaptured-error handler, as for any other WebGPU call.
#[cfg(target_arch = "wasm32")]
pub(crate) fn guarded<T>(device: &wgpu::Device, _: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    alive(device)?;
    Ok(create())
}

/// Knows of a device's loss where calls do not fail by it: in a browser, which says so once, later. Natively wgpu refuses
/// the next write, and a callback would take the place of the host's.
#[derive(Debug)]
pub(crate) struct Watch {
    #[cfg(target_arch = "wasm32")]
    lost: std::sync::Arc<std::sync::OnceLock<String>>,
}

impl Watch {
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(_: &wgpu::Device) -> Self {
        Self {}
    }

    #[cfg(target_arch = "wasm32")]
    pub fn new(device: &wgpu::Device) -> Self {
        let lost = std::sync::Arc::new(std::sync::OnceLock::new());
        let told = lost.clone();
        // On WebGPU this joins the host's callbacks and replaces none.
        device.set_device_lost_callback(move |reason, message| {
            let _ = told.set(format!("{reason:?}: {message}"));
        });
        Self { lost }
    }

    /// [`Error::DeviceLost`] once the loss is known.
    pub fn check(&self) -> Result<(), Error> {
        #[cfg(target_arch = "wasm32")]
        if let Some(reason) = self.lost.get() {
            return Err(Error::DeviceLost { reason: reason.clone() });
        }
        Ok(())
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
