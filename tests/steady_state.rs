//! Claim: after the first step nothing is made any more: no pipeline, no bind group, no buffer that stays,
//! and no allocation on the host beyond those of the wgpu calls that a step consists of, whatever the
//! number of tensors and groups and whatever a schedule changes.

mod common;

use common::{Gpu, gpu_main, trial_of_its_own};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wgpu_optim::program::Binding;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{AnyRule, GroupId, Optimizer, ParamSet};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no locals any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const TENSORS: usize = 10_000;
const GROUPS: usize = 465;

fn main() {
    gpu_main("steady_state", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            let name = |claim| format!("{}: {claim}", entry.name);
            trials.push(trial_of_its_own(adapter, name("no allocation of ours in a step"), |_| {
                only_wgpu_allocates(&(entry.example)())
            }));
            trials.push(trial_of_its_own(adapter, name("nothing is made after the first step"), |gpu| {
                nothing_is_made(gpu, &(entry.example)())
            }));
        }
        trials
    });
}

struct Model {
    optimizer: Optimizer<AnyRule>,
    groups: Vec<GroupId>,
    _params: ParamSet,
}

fn model(gpu: &Gpu, config: &AnyRule, tensors: usize, groups: usize) -> Model {
    let mut params = ParamSet::builder();
    let groups: Vec<_> = (0..groups).map(|i| params.group(format!("group {i}"))).collect();
    for i in 0..tensors {
        params.tensor(format!("tensor {i}"), [16], groups[i * groups.len() / tensors]);
    }
    let params = params.build(&gpu.device).unwrap();
    let optimizer =
        Optimizer::new(&gpu.device, &gpu.queue, &params, vec![config.clone(); groups.len()]).unwrap();
    assert_eq!(optimizer.dispatches_per_step(), common::dispatches(config.rule()));
    Model { optimizer, groups, _params: params }
}

/// The usual number of allocations that recording into an encoder took, the median of some rounds: in the first one
/// wgpu has less to look after, and now and then its own pools grow or the device's count is read.
fn usual(gpu: &Gpu, mut record: impl FnMut(&mut wgpu::CommandEncoder)) -> u64 {
    let round = |_| {
        let mut encoder = gpu.encoder();
        let count = allocations(|| record(&mut encoder));
        gpu.submit(encoder);
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        count
    };
    let mut rounds: Vec<u64> = (0..21).map(round).collect();
    rounds.sort_unstable();
    rounds[10]
}

/// Counted on wgpu's backend that does nothing: what a driver's memory allocator does differs from step to step.
fn only_wgpu_allocates(config: &AnyRule) {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let gpu = &Gpu { name: "no-op".into(), device, queue };
    let record = |model: &mut Model, scheduled: bool| {
        let Model { optimizer, groups, .. } = model;
        let mut lr = 1e-3;
        usual(gpu, |encoder| {
            lr *= 0.99;
            for group in groups.iter().filter(|_| scheduled) {
                optimizer.group_mut(*group).unwrap().set("lr", lr).unwrap();
            }
            optimizer.step(encoder).unwrap();
        })
    };
    for scheduled in [false, true] {
        let small = record(&mut model(gpu, config, 10, 1), scheduled);
        let expected = if common::dispatches(config.rule()) > 1 {
            // Several dispatches: at least what a small model takes.
            small
        } else {
            let bare = Bare::new(gpu, config);
            usual(gpu, |encoder| bare.step(gpu, encoder, scheduled))
        };
        assert!(expected > 0, "wgpu allocates, and the counter counts");
        assert_eq!(small, expected, "a small model, scheduled: {scheduled}");
        assert_eq!(record(&mut model(gpu, config, TENSORS, GROUPS), scheduled), expected, "{scheduled}");
    }
}

/// The wgpu calls of a step and nothing else: what is set, what follows from the count, the record, and one pass.
struct Bare {
    set: Vec<u8>,
    counted: Vec<u8>,
    table: wgpu::Buffer,
    record: wgpu::Buffer,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    label: String,
}

impl Bare {
    fn new(gpu: &Gpu, config: &AnyRule) -> Self {
        let program = common::program(config);
        let [module] = &program.modules[..] else { panic!("one dispatch") };
        let layout = &program.layouts[module.layout as usize];
        let shader = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(module.wgsl.as_str().into()),
        });
        let entry = |(binding, kind): (u32, &Binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match kind {
                    Binding::Record => wgpu::BufferBindingType::Uniform,
                    kind => wgpu::BufferBindingType::Storage { read_only: *kind == Binding::ReadOnly },
                },
                has_dynamic_offset: *kind == Binding::Record,
                min_binding_size: None,
            },
            count: None,
        };
        let group_layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &(0..).zip(layout).map(entry).collect::<Vec<_>>(),
        });
        let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group_layout)],
            immediate_size: 0,
        });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &shader,
            entry_point: Some(&module.entry_point),
            compilation_options: Default::default(),
            cache: None,
        });
        let [set, counted] = [&program.rows.set, &program.rows.counted].map(|ring| ring.stride as usize);
        let buffer = |kind: &Binding| {
            let kind = if *kind == Binding::Record { BufferUsages::UNIFORM } else { BufferUsages::STORAGE };
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 256 + (set + counted) as u64,
                usage: kind | BufferUsages::COPY_DST,
                // wgpu keeps account of what was never written.
                mapped_at_creation: true,
            });
            buffer.unmap();
            buffer
        };
        let buffers: Vec<_> = layout.iter().map(buffer).collect();
        let entries: Vec<_> = (0..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &group_layout,
            entries: &entries,
        });
        let record = layout.iter().position(|kind| *kind == Binding::Record).unwrap();
        let label = format!("wgpu-optim: {}", config.name());
        let (table, record) = (buffers[0].clone(), buffers[record].clone());
        Self { set: vec![0; set], counted: vec![0; counted], table, record, pipeline, bind_group, label }
    }

    fn step(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, scheduled: bool) {
        let write = |buffer: &wgpu::Buffer, at: u64, bytes: &[u8]| {
            if let Some(size) = wgpu::BufferSize::new(bytes.len() as u64) {
                gpu.queue.write_buffer_with(buffer, at, size).unwrap().copy_from_slice(bytes);
            }
        };
        if scheduled {
            write(&self.table, 48, &self.set);
        }
        write(&self.table, 48 + self.set.len() as u64, &self.counted);
        write(&self.record, 0, &[0; 48]);
        let label = Some(&*self.label);
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        pass.push_debug_group(&self.label);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[0]);
        pass.dispatch_workgroups(1, 1, 1);
        pass.pop_debug_group();
    }
}

fn nothing_is_made(gpu: &Gpu, config: &AnyRule) {
    let made = || {
        let hal = gpu.device.get_internal_counters().hal;
        let pipelines = [&hal.compute_pipelines, &hal.pipeline_layouts, &hal.shader_modules];
        let bindings = [&hal.bind_groups, &hal.bind_group_layouts];
        (pipelines.map(|counter| counter.read()), bindings.map(|counter| counter.read()))
    };
    let buffers = || {
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let hal = gpu.device.get_internal_counters().hal;
        (hal.buffers.read(), hal.buffer_memory.read())
    };
    let empty = made();
    let Model { mut optimizer, groups, .. } = model(gpu, config, 100, 5);
    let mut step = |lr: f64| {
        for group in &groups {
            optimizer.group_mut(*group).unwrap().set("lr", lr).unwrap();
        }
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        // While the encoder still holds whatever the step used.
        let made = made();
        gpu.submit(encoder);
        made
    };
    let first = step(1e-3);
    assert!(first.0[0] > empty.0[0] && first.1[0] > empty.1[0], "the counters count: {empty:?} {first:?}");
    let after_first = buffers();
    for i in 0..20 {
        assert_eq!(step(1e-3 / f64::from(i + 1)), first);
        assert_eq!(buffers(), after_first);
    }
}
