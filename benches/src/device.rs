//! The device that is measured: opened by the bench, with timestamps where the adapter has them.

#[path = "../../examples/support/adapter.rs"]
pub mod adapter;

use adapter::Opened;
use anyhow::{Context, Result, anyhow, bail};
use std::sync::{Arc, Mutex};
use wgpu::{BufferUsages, Features};

/// An open device.
pub struct Device {
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    clock: Option<GpuClock>,
    /// What the device reported beside the calls that failed.
    reported: Arc<Mutex<Option<String>>>,
}

/// Two timestamps and the way back of them.
struct GpuClock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// Seconds of a tick.
    tick: f64,
}

const TIMESTAMPS: Features = Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

impl Device {
    /// Opens an adapter with what the optimizers ask for.
    pub fn open(adapter: wgpu::Adapter) -> Result<Self> {
        let Opened { adapter, device, queue } = adapter::open_with(adapter, TIMESTAMPS)?;
        let reported = Arc::new(Mutex::new(None));
        let note = |reported: &Arc<Mutex<Option<String>>>| {
            let reported = reported.clone();
            move |what: String| {
                if let Ok(mut reported) = reported.lock() {
                    reported.get_or_insert(what);
                }
            }
        };
        let (error, lost) = (note(&reported), note(&reported));
        device.on_uncaptured_error(Arc::new(move |e| error(e.to_string())));
        device.set_device_lost_callback(move |reason, message| {
            lost(format!("the device is lost ({reason:?}): {message}"));
        });
        let clock = device.features().contains(TIMESTAMPS).then(|| {
            let buffer = |usage| buffer_of(&device, 16, usage);
            GpuClock {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: None,
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                resolved: buffer(BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
                readable: buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST),
                tick: f64::from(queue.get_timestamp_period()) * 1e-9,
            }
        });
        Ok(Self { adapter, device, queue, clock, reported })
    }

    /// Whether GPU time can be measured.
    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Nanoseconds of a tick of the GPU's clock.
    pub fn tick_ns(&self) -> Option<f64> {
        self.clock.as_ref().map(|clock| clock.tick * 1e9)
    }

    /// Whether it is a CPU that plays a GPU.
    pub fn is_software(&self) -> bool {
        adapter::is_software(&self.adapter)
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// A buffer, or why there is none: the memory may not be there.
    pub fn buffer(&self, size: u64, usage: BufferUsages) -> Result<wgpu::Buffer> {
        let limit = self.device.limits().max_buffer_size;
        if size > limit {
            bail!("a buffer of {size} bytes is over the limit max_buffer_size, {limit}");
        }
        let buffer = self.guarded(|| buffer_of(&self.device, size, usage))?;
        self.check()?;
        Ok(buffer)
    }

    /// Runs creation calls under error scopes.
    pub fn guarded<T>(&self, create: impl FnOnce() -> T) -> Result<T> {
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        let [memory, validation] = scopes.map(|filter| self.device.push_error_scope(filter));
        let made = create();
        let validation = pollster::block_on(validation.pop());
        let memory = pollster::block_on(memory.pop());
        match validation.or(memory) {
            None => Ok(made),
            Some(error) => Err(anyhow!("{error}")),
        }
    }

    /// A pipeline of a text with one entry point, whose layout follows from it.
    pub fn pipeline(&self, wgsl: &str, constants: &[(&str, f64)]) -> Result<wgpu::ComputePipeline> {
        self.guarded(|| {
            let source = wgpu::ShaderSource::Wgsl(wgsl.into());
            let module =
                self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
                cache: None,
            })
        })
    }

    /// Submits and waits.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<()> {
        self.queue.submit([encoder.finish()]);
        self.device.poll(wgpu::PollType::wait_indefinitely()).context("waiting for the device")?;
        self.check()
    }

    /// An error that the device reported since the last time.
    pub fn check(&self) -> Result<()> {
        match self.reported.lock().ok().and_then(|mut reported| reported.take()) {
            None => Ok(()),
            Some(what) => bail!("{what}"),
        }
    }

    /// Runs what `record` records; the GPU's seconds and ticks for it, where there is a clock.
    pub fn timed(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Option<(f64, u64)>> {
        let mut encoder = self.encoder();
        let Some(clock) = &self.clock else {
            record(&mut encoder)?;
            self.submit(encoder)?;
            return Ok(None);
        };
        encoder.write_timestamp(&clock.queries, 0);
        record(&mut encoder)?;
        encoder.write_timestamp(&clock.queries, 1);
        encoder.resolve_query_set(&clock.queries, 0..2, &clock.resolved, 0);
        encoder.copy_buffer_to_buffer(&clock.resolved, 0, &clock.readable, 0, 16);
        self.submit(encoder)?;
        clock.readable.slice(..).map_async(wgpu::MapMode::Read, |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).context("reading timestamps")?;
        let ticks = {
            let bytes = clock.readable.slice(..).get_mapped_range().context("reading timestamps")?;
            let at: &[u64] = bytemuck::cast_slice(&bytes);
            at[1].saturating_sub(at[0])
        };
        clock.readable.unmap();
        Ok(Some((ticks as f64 * clock.tick, ticks)))
    }
}

fn buffer_of(device: &wgpu::Device, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}
