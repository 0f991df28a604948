//! Which adapter an example, a bench or a test runs on: the wanted ones, or the fastest kind, of those that give a device.

#![allow(dead_code)] // each program uses its share

use anyhow::{Result, anyhow, bail};
use wgpu_optim::wgpu::{self, DeviceType};

/// An adapter that gave a device.
pub struct Opened {
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

/// The first adapter whose name or backend contains `wanted`, the fastest kind first, that gives a device.
pub fn choose(wanted: Option<&str>) -> Result<Opened> {
    let candidates = candidates(wanted.unwrap_or_default())?;
    passing_over(candidates, describe, open).next().map(opened).ok_or_else(none_opens)
}

/// All of them.
pub fn all(wanted: &str) -> Result<Vec<Opened>> {
    let opened: Vec<Opened> = passing_over(candidates(wanted)?, describe, open).map(opened).collect();
    if opened.is_empty() { Err(none_opens()) } else { Ok(opened) }
}

fn opened((adapter, (device, queue)): (wgpu::Adapter, (wgpu::Device, wgpu::Queue))) -> Opened {
    Opened { adapter, device, queue }
}

fn none_opens() -> anyhow::Error {
    anyhow!("no adapter gives a device. {INSTALL}")
}

/// Opens candidates one after the other, as they are asked for. Whatever gives no device, as drivers without a screen or
/// without their hardware do, is passed over with a line.
pub fn passing_over<T, D, E: std::fmt::Display>(
    candidates: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> String,
    open: impl Fn(&T) -> Result<D, E>,
) -> impl Iterator<Item = (T, D)> {
    candidates.into_iter().filter_map(move |candidate| match open(&candidate) {
        Ok(device) => Some((candidate, device)),
        Err(error) => {
            eprintln!("passed over: {} gives no device: {error}", name(&candidate));
            None
        }
    })
}

const INSTALL: &str = "Install a Vulkan driver: on Debian and Ubuntu `sudo apt-get install mesa-vulkan-drivers` (or \
                       `make setup`) brings one that runs on any CPU";

/// Every adapter that can run the library's workgroups and has `wanted` in its name or backend, the fastest kind first.
pub fn candidates(wanted: &str) -> Result<Vec<wgpu::Adapter>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.retain(|adapter| {
        adapter.limits().max_compute_invocations_per_workgroup >= wgpu_optim::program::WORKGROUP
    });
    if adapters.is_empty() {
        bail!("no adapter found, neither a GPU nor a software one. {INSTALL}");
    }
    // Stable: of two adapters of a kind the first found stays first.
    adapters.sort_by_key(|adapter| speed(adapter.get_info().device_type));
    let wanted = wanted.to_lowercase();
    let known: Vec<String> = adapters.iter().map(describe).collect();
    adapters.retain(|adapter| {
        let info = adapter.get_info();
        let short = format!("{} [{:?}]", info.name, info.backend);
        (short + " " + &describe(adapter)).to_lowercase().contains(&wanted)
    });
    if adapters.is_empty() {
        bail!("no adapter's name or backend contains '{wanted}'; there are: {}", known.join("; "));
    }
    Ok(adapters)
}

/// Opens a device with what the optimizers ask for.
fn open(adapter: &wgpu::Adapter) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    request(adapter, wgpu::Features::empty())
}

/// Opens an adapter with those of `features` that it has, too.
pub fn open_with(
    adapter: wgpu::Adapter,
    features: wgpu::Features,
) -> Result<Opened, wgpu::RequestDeviceError> {
    let (device, queue) = request(&adapter, features)?;
    Ok(Opened { adapter, device, queue })
}

fn request(
    adapter: &wgpu::Adapter,
    features: wgpu::Features,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    let descriptor = wgpu::DeviceDescriptor {
        required_features: wgpu_optim::required_features(adapter) | features & adapter.features(),
        required_limits: wgpu_optim::required_limits(adapter),
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor))
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
