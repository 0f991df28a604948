//! The objects of a program on a device: buffers with their first contents, pipelines, bind groups.

use super::scope::guarded;
use crate::error::Error;
use crate::program::{BindGroup, Binding, Buffer, Fill, Module, Program, Slice, Usage};
use wgpu::BufferUsages;

/// One dispatch of a step.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    /// Its record of the step is chosen by a dynamic offset.
    pub bind_group: wgpu::BindGroup,
    pub workgroups: [u32; 2],
}

/// Everything of a program on the device.
#[derive(Debug)]
pub(super) struct Objects {
    /// Those of the program, in order.
    pub buffers: Vec<wgpu::Buffer>,
    /// In the order of a step.
    pub dispatches: Vec<Dispatch>,
}

impl Objects {
    /// Makes them; `given` are the buffers that the host brings.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn new(device: &wgpu::Device, program: &Program, given: &[wgpu::Buffer]) -> Result<Self, Error> {
        let buffers = guarded(device, &format!("the slots of '{}'", program.optimizer), || {
            let mut given = given.iter();
            let make = |buffer: &Buffer| match given.next() {
                Some(given) => Ok(given.clone()),
                None => make_buffer(device, buffer),
            };
            program.buffers.iter().map(make).collect::<Result<Vec<_>, Error>>()
        })??;
        let what = format!("rule '{}'", program.optimizer);
        let dispatches = guarded(device, &what, || make_dispatches(device, program, &buffers))?;
        Ok(Self { buffers, dispatches })
    }
}

fn make_dispatches(device: &wgpu::Device, program: &Program, buffers: &[wgpu::Buffer]) -> Vec<Dispatch> {
    let label = Some(program.label.as_str());
    let layouts: Vec<_> = program.layouts.iter().map(|layout| make_layout(device, label, layout)).collect();
    let pipelines: Vec<_> = program
        .modules
        .iter()
        .map(|module| make_pipeline(device, module, &layouts[module.layout as usize]))
        .collect();
    let groups: Vec<_> = program
        .bindings
        .iter()
        .map(|group| make_bind_group(device, label, group, &layouts[group.layout as usize], buffers))
        .collect();
    let dispatch = |pass: &crate::program::Pass| Dispatch {
        pipeline: pipelines[pass.module as usize].clone(),
        bind_group: groups[pass.bindings as usize].clone(),
        workgroups: pass.workgroups,
    };
    program.passes.iter().map(dispatch).collect()
}

fn make_buffer(device: &wgpu::Device, buffer: &Buffer) -> Result<wgpu::Buffer, Error> {
    let made = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(&buffer.label),
        size: buffer.size,
        usage: match buffer.usage {
            Usage::Given | Usage::Storage => {
                BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST
            }
            Usage::Uniform => BufferUsages::UNIFORM | BufferUsages::COPY_DST,
        },
        mapped_at_creation: !buffer.contents.is_empty(),
    });
    // wgpu hands out zeroed buffers.
    if !buffer.contents.is_empty() {
        let lost = |error: wgpu::MapRangeError| Error::DeviceLost { reason: error.to_string() };
        let mut view = made.get_mapped_range_mut(..).map_err(lost)?;
        for Fill { at, words, times } in &buffer.contents {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            for time in 0..*times as usize {
                let start = *at as usize + time * bytes.len();
                view.slice(start..start + bytes.len()).copy_from_slice(bytes);
            }
        }
        drop(view);
        made.unmap();
    }
    Ok(made)
}

pub(super) fn make_layout(
    device: &wgpu::Device,
    label: Option<&str>,
    layout: &[Binding],
) -> wgpu::BindGroupLayout {
    let entry = |(binding, kind): (u32, &Binding)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match kind {
                Binding::ReadOnly => wgpu::BufferBindingType::Storage { read_only: true },
                Binding::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                Binding::Record => wgpu::BufferBindingType::Uniform,
            },
            has_dynamic_offset: *kind == Binding::Record,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..).zip(layout).map(entry).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries })
}

pub(super) fn make_pipeline(
    device: &wgpu::Device,
    module: &Module,
    layout: &wgpu::BindGroupLayout,
) -> wgpu::ComputePipeline {
    let label = Some(module.label.as_str());
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    let source = wgpu::ShaderSource::Wgsl(module.wgsl.as_str().into());
    let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &shader,
        entry_point: Some(&module.entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            // Every word is written before it is read (tests/workgroup_memory.rs). On GL the zeros are a constant as large
            // as the memory, which Mesa's compiler for CPUs takes half a minute over.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    })
}

fn make_bind_group(
    device: &wgpu::Device,
    label: Option<&str>,
    group: &BindGroup,
    layout: &wgpu::BindGroupLayout,
    buffers: &[wgpu::Buffer],
) -> wgpu::BindGroup {
    let entry = |(binding, slice): (u32, &Slice)| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &buffers[slice.buffer as usize],
            offset: slice.offset,
            size: wgpu::BufferSize::new(slice.size),
        }),
    };
    let entries: Vec<_> = (0..).zip(&group.slices).map(entry).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
}
