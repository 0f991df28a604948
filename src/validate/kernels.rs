//! Small kernels with one input and one output, for probes.

use crate::device::copy_out;
use crate::error::Error;
use wgpu::BufferUsages;

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
    ) -> Result<Vec<[f32; 4]>, Error> {
        let unknown = || Error::Refused { what: format!("probe '{name}'"), reason: "there is none".into() };
        let (_, pipeline) = self.pipelines.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let buffer = |usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("probe"),
                size: bytes.len() as u64,
                usage: usage | BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let (input, output) = (buffer(BufferUsages::COPY_DST), buffer(BufferUsages::COPY_SRC));
        self.queue.write_buffer(&input, 0, bytes);
        let all = [&input, &output].map(|buffer| buffer.as_entire_binding());
        let bound = (0..).zip(all).filter(|(binding, _)| *binding == 1 || name != LARGE);
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
        let download = copy_out(self.device, &mut encoder, &[(&output, 0, bytes.len() as u64)]);
        self.queue.submit([encoder.finish()]);
        let words = download.read().await?;
        Ok(words.chunks_exact(4).map(|words| [words[0], words[1], words[2], words[3]]).collect())
    }
}

/// The entry point that reads nothing.
pub(super) const LARGE: &str = "large";
