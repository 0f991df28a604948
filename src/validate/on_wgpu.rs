//! Cases and probes on a device of wgpu's.

use super::{Case, Probe, ProbeKernel, Trial, Verdict};
use crate::device::{Download, Optimizer, ParamSet, copy_out, guarded};
use crate::error::Error;
use crate::program::Limits;
use wgpu::BufferUsages;

/// Runs a case. Await it while somebody polls the device, as for any download; see [`check_blocking`].
///
/// # Errors
/// What [`ParamSet`] and [`Optimizer`] refuse, and [`Error::DeviceLost`].
pub async fn check(device: &wgpu::Device, queue: &wgpu::Queue, case: &Case) -> Result<Verdict, Error> {
    let mut trial = Trial::new(case, &Limits::of(device))?;
    let mut builder = ParamSet::builder();
    let groups: Vec<_> = trial.tensors().groups().iter().map(|group| builder.group(group)).collect();
    let tensors = trial.tensors().tensors().iter();
    let ids: Vec<_> = tensors
        .map(|tensor| builder.tensor(&tensor.name, tensor.shape.clone(), groups[tensor.group]))
        .collect();
    let params = builder.build(device)?;
    let (program, rules) = (trial.program().clone(), trial.rules().clone());
    let mut optimizer = Optimizer::of_program(device, queue, &params, program, rules, trial.wrappers())?;
    for (id, theta) in ids.iter().zip(trial.parameters()) {
        params.write_param(queue, *id, &theta)?;
    }
    let encoder =
        || device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("validate") });
    let read = |optimizer: &Optimizer<_>, trial: &Trial| {
        let mut encoder = encoder();
        let download = optimizer.copy(&mut encoder, trial.slices());
        queue.submit([encoder.finish()]);
        download
    };
    trial.see(&read(&optimizer, &trial).read().await?)?;
    while let Some(gradients) = trial.gradients() {
        for (id, g) in ids.iter().zip(gradients) {
            params.write_grad(queue, *id, &g)?;
        }
        let mut encoder = encoder();
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        trial.see(&read(&optimizer, &trial).read().await?)?;
    }
    Ok(trial.verdict().clone())
}

/// Runs a case and polls the device meanwhile. **Submits and blocks**: for tools and tests.
///
/// # Errors
/// As [`check`].
#[cfg(not(target_arch = "wasm32"))]
pub fn check_blocking(device: &wgpu::Device, queue: &wgpu::Queue, case: &Case) -> Result<Verdict, Error> {
    block_on(device, check(device, queue, case))
}

/// Probes a device. Await it while somebody polls the device; see [`probe_blocking`].
///
/// # Errors
/// [`Error::Refused`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
pub async fn probe(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Probe, Error> {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("probe") });
    let numbers = Probe::numbers();
    let downloads = guarded(device, "a probe", || {
        let source = wgpu::ShaderSource::Wgsl(Probe::WGSL.into());
        let module =
            device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("probe"), source });
        Probe::KERNELS.map(|kernel| run(device, queue, &mut encoder, &module, kernel, &numbers))
    })?;
    queue.submit([encoder.finish()]);
    let mut buffers = vec![];
    for download in downloads {
        buffers.push(download.read().await?);
    }
    let buffer = |index: usize| bytemuck::cast_slice(&buffers[index]);
    Probe::of([buffer(0), buffer(1), buffer(2), buffer(3)])
}

/// Records a kernel, and a copy of the whole buffer of its results.
fn run(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    encoder: &mut wgpu::CommandEncoder,
    module: &wgpu::ShaderModule,
    kernel: ProbeKernel,
    numbers: &[[f32; 4]],
) -> Download {
    let bytes: &[u8] = bytemuck::cast_slice(numbers);
    let len = bytes.len() as u64;
    let buffer = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size,
            usage: usage | BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    };
    let input = buffer(len, BufferUsages::COPY_DST);
    let output = buffer(Probe::AROUND + len + Probe::AROUND, BufferUsages::COPY_SRC);
    queue.write_buffer(&input, 0, bytes);
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.entry_point),
        layout: None,
        module,
        entry_point: Some(kernel.entry_point),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let results =
        wgpu::BufferBinding { buffer: &output, offset: Probe::AROUND, size: wgpu::BufferSize::new(len) };
    let all = [input.as_entire_binding(), wgpu::BindingResource::Buffer(results)];
    let bound = (0..).zip(all).filter(|(binding, _)| *binding == 1 || kernel.reads);
    let entries: Vec<_> =
        bound.map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("probe"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(kernel.workgroups[0], kernel.workgroups[1], 1);
    drop(pass);
    copy_out(device, encoder, &[(&output, 0, output.size())])
}

/// As [`probe`], and polls the device meanwhile. **Submits and blocks**: for tools and tests.
///
/// # Errors
/// As [`probe`].
#[cfg(not(target_arch = "wasm32"))]
pub fn probe_blocking(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Probe, Error> {
    block_on(device, probe(device, queue))
}

/// Awaits what downloads, and polls the device until it is there.
#[cfg(not(target_arch = "wasm32"))]
fn block_on<T>(device: &wgpu::Device, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    pollster::block_on(std::future::poll_fn(|context| {
        let lost = |error: wgpu::PollError| Error::DeviceLost { reason: error.to_string() };
        match work.as_mut().poll(context) {
            std::task::Poll::Ready(done) => std::task::Poll::Ready(done),
            std::task::Poll::Pending => match device.poll(wgpu::PollType::wait_indefinitely()) {
                Ok(_) => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                Err(error) => std::task::Poll::Ready(Err(lost(error))),
            },
        }
    }))
}
