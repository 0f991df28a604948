//! Small kernels with one input and one output, for probes.

use crate::device::copy_out;
use crate::error::Error;
use wgpu::BufferUsages;

/// What an entry point left.
pub(super) struct Output {
    pub results: Vec<[f32; 4]>,
    /// Whether something was written before or behind the binding of the results, in the same buffer.
    pub spilt: bool,
}

/// Bytes of the buffer of results before and behind its binding: any alignment that a device may ask for.
const AROUND: u64 = 4096;

/// The entry points of one module.
pub(super) struct Kernels<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    pipelines: Vec<(&'static str, wgpu::ComputePipeline)>,
}

impl<'a> Kernels<'a> {
    /// Compiles them.
    pub fn new<const N: usize>(
        device: &'a wgpu::Device,
        queue: &'a wgpu::Queue,
        wgsl: &str,
        entry_points: [&'static str; N],
    ) -> Result<Self, Error> {
        let pipelines = crate::device::guarded(device, "a probe", || {
            let source = wgpu::ShaderSource::Wgsl(wgsl.into());
            let module =
                device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("probe"), source });
            let pipeline = |entry_point: &'static str| {
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(entry_point),
                    layout: None,
                    module: &module,
                    entry_point: Some(entry_point),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                })
            };
            entry_points.map(|name| (name, pipeline(name))).into()
        })?;
        Ok(Self { device, queue, pipelines })
    }

    /// What an entry point makes of `numbers`, which stand in its binding 0 if it has one; binding 1 is for as many results.
    pub async fn run(
        &self,
        name: &str,
        numbers: &[[f32; 4]],
        workgroups: (u32, u32),
    ) -> Result<Output, Error> {
        let unknown = || Error::Refused { what: format!("probe '{name}'"), reason: "there is none".into() };
        let (_, pipeline) = self.pipelines.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let len = bytes.len() as u64;
        let buffer = |size, usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("probe"),
                size,
                usage: usage | BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let input = buffer(len, BufferUsages::COPY_DST);
        let output = buffer(AROUND + len + AROUND, BufferUsages::COPY_SRC);
        self.queue.write_buffer(&input, 0, bytes);
        let results =
            wgpu::BufferBinding { buffer: &output, offset: AROUND, size: wgpu::BufferSize::new(len) };
        let all = [input.as_entire_binding(), wgpu::BindingResource::Buffer(results)];
        let bound = (0..).zip(all).filter(|(binding, _)| *binding == 1 || !READS_NOTHING.contains(&name));
        let entries: Vec<_> =
            bound.map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("probe"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(workgroups.0, workgroups.1, 1);
        drop(pass);
        let download = copy_out(self.device, &mut encoder, &[(&output, 0, output.size())]);
        self.queue.submit([encoder.finish()]);
        let words = download.read().await?;
        let all: Vec<[f32; 4]> = bytemuck::cast_slice(&words).to_vec();
        let around = (AROUND / 16) as usize;
        let inside = around..around + numbers.len();
        let spilt = (0..).zip(&all).any(|(i, x)| !inside.contains(&i) && *x != [0.0; 4]);
        Ok(Output { results: all[inside].to_vec(), spilt })
    }
}

/// The entry points that read nothing.
const READS_NOTHING: [&str; 2] = [LARGE, OUTSIDE];
pub(super) const LARGE: &str = "large";
pub(super) const OUTSIDE: &str = "outside";
