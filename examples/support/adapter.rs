//! Which adapter an example runs on.

use anyhow::{Context, Result, bail};
use wgpu_optim::wgpu::{self, DeviceType};

/// Invocations of the library's workgroups.
const INVOCATIONS: u32 = 256;

/// The adapter whose name or backend contains `wanted`, or else the fastest kind.
pub fn choose(wanted: Option<&str>) -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|adapter| adapter.limits().max_compute_invocations_per_workgroup >= INVOCATIONS);
    if adapters.is_empty() {
        bail!(
            "no adapter found, neither a GPU nor a software one. Install a Vulkan driver: on Debian and Ubuntu \
             `sudo apt-get install mesa-vulkan-drivers` (or `make setup`) brings one that runs on any CPU"
        );
    }
    // Stable: of two adapters of a kind the first found stays first.
    adapters.sort_by_key(|adapter| speed(adapter.get_info().device_type));
    let wanted = wanted.unwrap_or_default().to_lowercase();
    let known: Vec<String> = adapters.iter().map(describe).collect();
    let position = known.iter().position(|name| name.to_lowercase().contains(&wanted));
    match position {
        Some(position) => Ok(adapters.swap_remove(position)),
        None => bail!("no adapter's name or backend contains '{wanted}'; there are: {}", known.join("; ")),
    }
}

/// Opens a device with what the optimizers ask for.
pub fn open(adapter: &wgpu::Adapter) -> Result<(wgpu::Device, wgpu::Queue)> {
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("example"),
        required_features: wgpu_optim::required_features(adapter),
        required_limits: wgpu_optim::required_limits(adapter),
        ..Default::default()
    };
    let opened = pollster::block_on(adapter.request_device(&descriptor));
    opened.with_context(|| format!("{} gives no device", describe(adapter)))
}

/// Name, backend and driver.
pub fn describe(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    let driver = [info.driver, info.driver_info].join(" ");
    let driver = if driver.trim().is_empty() { "unnamed driver" } else { driver.trim() };
    format!("{} ({}, {driver})", info.name, info.backend)
}

/// Whether it is a CPU that plays a GPU.
pub fn is_software(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type == DeviceType::Cpu
}

/// Place in the order of preference.
fn speed(kind: DeviceType) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}
