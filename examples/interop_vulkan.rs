//! An application that made its own Vulkan device with `ash` trains in its own memory: wgpu is given the device and the buffer,
//! and the optimizer updates them in place. Nothing is copied.
//!
//! ```text
//! cargo run --release --example interop_vulkan
//! ```
//!
//! What this way asks of the application:
//! - The instance is of Vulkan 1.3 and has the extensions that wgpu wants, the device those extensions and features: wgpu-hal
//!   names both, and what it is not told it finds out from the version.
//! - One thread at a time submits to the queue: wgpu submits too, when `Queue::submit` is called.
//! - wgpu waits for its own work alone. What the application's commands write must be made visible by a barrier at their end,
//!   or by waiting, as here; the optimizer's writes likewise, before the application reads them.
//! - wgpu never maps, frees or moves what it was given; everything of the application outlives it.
//!
//! Where that is too much, or no Rust is there, `capi/` does without wgpu.

// SAFETY: every unsafe block below calls Vulkan, or hands its objects to wgpu-hal, with objects that were made above it, that
// fit one another, and that live until the end of `main`.

use anyhow::{Context, Result, ensure};
use ash::vk;
use wgpu_optim::rules::Adam;
use wgpu_optim::wgpu::{self, hal};
use wgpu_optim::{BufferRange, Optimizer, ParamSet};

const ELEMENTS: usize = 1000;
/// Where the gradients start in the buffer that holds both.
const GRADS: usize = 1024;
const BYTES: u64 = 4 * 2 * GRADS as u64;

/// The application's own Vulkan.
struct Engine {
    entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    extensions: Vec<&'static std::ffi::CStr>,
}

impl Engine {
    fn new() -> Result<Self> {
        let entry = unsafe { ash::Entry::load() }.context("no Vulkan loader")?;
        let (version, flags) = (vk::API_VERSION_1_3, wgpu::InstanceFlags::empty());
        let extensions = hal::vulkan::Instance::desired_extensions(&entry, version, flags)?;
        let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
        let application = vk::ApplicationInfo::default().api_version(version);
        let create =
            vk::InstanceCreateInfo::default().application_info(&application).enabled_extension_names(&names);
        let instance = unsafe { entry.create_instance(&create, None) }?;
        let devices = unsafe { instance.enumerate_physical_devices() }?;
        let physical = *devices.first().context("no Vulkan device")?;
        Ok(Self { entry, instance, physical, extensions })
    }

    /// A device of the application's, and the same for wgpu.
    fn devices(&self) -> Result<(ash::Device, wgpu::Device, wgpu::Queue)> {
        // The application keeps what it made: wgpu calls this where it would destroy it.
        let keep = || Some(Box::new(|| ()) as hal::DropCallback);
        let of_instance = unsafe {
            hal::vulkan::Instance::from_raw(
                self.entry.clone(),
                self.instance.clone(),
                vk::API_VERSION_1_3,
                0,
                None,
                self.extensions.clone(),
                wgpu::InstanceFlags::empty(),
                wgpu::MemoryBudgetThresholds::default(),
                false,
                keep(),
            )
        }?;
        let exposed = of_instance.expose_adapter(self.physical).context("wgpu cannot use this device")?;
        let features = wgpu::Features::empty();
        let extensions = exposed.adapter.required_device_extensions(features);
        let mut enabled = exposed.adapter.physical_device_features(&extensions, features);

        let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
        let families = unsafe { self.instance.get_physical_device_queue_family_properties(self.physical) };
        let family = families.iter().position(|family| family.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let family = family.context("no queue that computes")? as u32;
        let queues =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let create =
            vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
        let create = enabled.add_to_device_create(create);
        let device = unsafe { self.instance.create_device(self.physical, &create, None) }?;

        let limits = wgpu::Limits::default().or_worse_values_from(&exposed.capabilities.limits);
        let hints = wgpu::MemoryHints::default();
        let opened = unsafe {
            let raw = device.clone();
            exposed.adapter.device_from_raw(raw, keep(), &extensions, features, &limits, &hints, family, 0)
        }?;
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let instance = unsafe { wgpu::Instance::from_hal::<hal::api::Vulkan>(of_instance) };
        let adapter = unsafe { instance.create_adapter_from_hal(exposed) };
        let (for_wgpu, queue) = unsafe { adapter.create_device_from_hal(opened, &descriptor) }?;
        Ok((device, for_wgpu, queue))
    }

    /// A buffer in memory that the application allocated and sees.
    fn buffer(&self, device: &ash::Device) -> Result<(vk::Buffer, *mut f32)> {
        let create = vk::BufferCreateInfo::default().size(BYTES).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
        let buffer = unsafe { device.create_buffer(&create, None) }?;
        let needs = unsafe { device.get_buffer_memory_requirements(buffer) };
        let memory = unsafe { self.instance.get_physical_device_memory_properties(self.physical) };
        let visible = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let fits = |(index, kind): (usize, &vk::MemoryType)| {
            needs.memory_type_bits >> index & 1 == 1 && kind.property_flags.contains(visible)
        };
        let kind = memory.memory_types_as_slice().iter().enumerate().position(fits);
        let allocate = vk::MemoryAllocateInfo::default()
            .allocation_size(needs.size)
            .memory_type_index(kind.context("no memory that the host sees")? as u32);
        unsafe {
            let memory = device.allocate_memory(&allocate, None)?;
            device.bind_buffer_memory(buffer, memory, 0)?;
            Ok((buffer, device.map_memory(memory, 0, BYTES, vk::MemoryMapFlags::empty())?.cast()))
        }
    }
}

fn main() -> Result<()> {
    let engine = Engine::new()?;
    let (device, for_wgpu, queue) = engine.devices()?;
    let (model, mapped) = engine.buffer(&device)?;
    let words = unsafe { std::slice::from_raw_parts_mut(mapped, BYTES as usize / 4) };
    words.fill(0.0);

    let handed = unsafe {
        let buffer = hal::vulkan::Buffer::from_raw_externally_owned(model, Box::new(|| ()));
        for_wgpu.create_buffer_from_hal::<hal::api::Vulkan>(
            buffer,
            &wgpu::BufferDescriptor {
                label: Some("the engine's model"),
                size: BYTES,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            },
        )
    };
    let mut params = ParamSet::builder();
    let group = params.group("all");
    let at = |element: usize| BufferRange::new(&handed, 4 * element as u64);
    params.external("weight", [ELEMENTS], group, at(0), at(GRADS));
    let params = params.build(&for_wgpu)?;
    let mut optimizer = Optimizer::new(&for_wgpu, &queue, &params, [Adam { lr: 0.05, ..Adam::default() }])?;

    // The engine's own work in between: here the gradient of (theta - target)^2 / 2, on the host.
    let target = |i: usize| (i as f32 * 0.01).sin();
    let loss = |theta: &[f32]| {
        theta.iter().enumerate().map(|(i, theta)| (theta - target(i)).powi(2)).sum::<f32>() / ELEMENTS as f32
    };
    let first = loss(&words[..ELEMENTS]);
    for step in 1..=200 {
        let (theta, grads) = words.split_at_mut(GRADS);
        for (i, (grad, theta)) in grads.iter_mut().zip(&theta[..ELEMENTS]).enumerate() {
            *grad = theta - target(i);
        }
        let mut encoder = for_wgpu.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        unsafe { device.device_wait_idle() }?;
        if step % 50 == 0 {
            println!("step {step}: loss {:.6}", loss(&words[..ELEMENTS]));
        }
    }
    let last = loss(&words[..ELEMENTS]);
    ensure!(last < first / 1000.0, "the loss went from {first} to {last}");
    println!("trained in the engine's own memory: loss {first:.4} to {last:.2e}");
    Ok(())
}
