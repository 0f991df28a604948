//! What a step costs, each figure as a ratio of two things measured in turns in this run.
//!
//! `cargo bench --bench step`; `WGPU_OPTIM_ADAPTER=text` chooses an adapter, the first one is the default.

#[path = "support/mod.rs"]
mod support;

use criterion::Criterion;
use std::hint::black_box;
use support::{Bench, ratio};
use wgpu_optim::rules::Adam;
use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{Optimizer, Packing, ParamSet};

const ELEMENTS: usize = 1 << 23; // 8.4 M
const ROUNDS: usize = 15;

/// A set of equal tensors dealt to groups, and an AdamW with a rate of its own for each.
fn adamw(
    bench: &Bench,
    tensors: usize,
    groups: usize,
    elements: usize,
    packing: Packing,
) -> (ParamSet, Optimizer<Adam>) {
    let mut builder = ParamSet::builder();
    builder.packing(packing);
    let ids: Vec<_> = (0..groups).map(|i| builder.group(format!("group {i}"))).collect();
    for i in 0..tensors {
        let len = elements * (i + 1) / tensors - elements * i / tensors;
        builder.tensor(format!("tensor {i}"), [len], ids[i % groups]);
    }
    let params = builder.build(&bench.device).expect("the arenas");
    let configs = (0..groups).map(|i| Adam { lr: 1e-4 * (i + 1) as f64, ..Adam::adamw() });
    let optimizer = Optimizer::new(&bench.device, &bench.queue, &params, configs).expect("the optimizer");
    (params, optimizer)
}

/// The hand-written kernel of `lab/adamw_plain.wgsl`: one dispatch for each of `tensors` equal parts.
struct Plain {
    pipeline: wgpu::ComputePipeline,
    parts: Vec<(wgpu::BindGroup, u32)>,
}

impl Plain {
    fn new(bench: &Bench, tensors: usize, elements: usize, width: u32, quads: u32) -> Self {
        let device = &bench.device;
        let source = wgpu::ShaderSource::Wgsl(include_str!("lab/adamw_plain.wgsl").into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("QUADS", f64::from(quads)), ("WIDTH", f64::from(width))],
                ..Default::default()
            },
            cache: None,
        });
        // Each part starts where a binding may.
        let part = (elements / tensors).next_multiple_of(64) as u64 * 4;
        let usage = wgpu::BufferUsages::STORAGE;
        let arenas: Vec<wgpu::Buffer> = (0..4).map(|_| bench.buffer(part * tensors as u64, usage)).collect();
        let hyper = [0.9f32, 0.1, 0.999, 0.001, 1.0, 1e-8, 1e-3, 0.9999];
        let hyper = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&hyper),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let layout = pipeline.get_bind_group_layout(0);
        let bind = |i: usize| {
            let range = |buffer| {
                let (offset, size) = (i as u64 * part, wgpu::BufferSize::new(part));
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
            };
            let resources = std::iter::once(hyper.as_entire_binding()).chain(arenas.iter().map(range));
            let entries: Vec<_> = (0..)
                .zip(resources)
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
            let workgroups = (part / 16).div_ceil(u64::from(width * quads)) as u32;
            (device.create_bind_group(&descriptor), workgroups)
        };
        Self { parts: (0..tensors).map(bind).collect(), pipeline }
    }

    fn step(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for (group, workgroups) in &self.parts {
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups((*workgroups).min(65_535), workgroups.div_ceil(65_535), 1);
        }
    }
}

fn kernels(bench: &Bench) {
    let mega = ELEMENTS as f64 / 1e6;
    println!("\n{mega:.1} M parameters, AdamW, {ROUNDS} rounds in turns, milliseconds a step (median)");
    let (_one, mut one) = adamw(bench, 1, 1, ELEMENTS, Packing::Bindable);
    let (_many, mut many) = adamw(bench, 1000, 16, ELEMENTS, Packing::Bindable);
    let plain =
        [(256, 1), (256, 4), (64, 16)].map(|(width, quads)| Plain::new(bench, 1, ELEMENTS, width, quads));
    let each = Plain::new(bench, 1000, ELEMENTS, 256, 1);
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let [from, to] = [(); 2].map(|()| bench.buffer(ELEMENTS as u64 * 4, usage));
    let names = [
        "ours, one tensor",
        "ours, 1000 tensors in 16 groups",
        "plain, 256 x 1 vec4",
        "plain, 256 x 4 vec4",
        "plain, 64 x 16 vec4",
        "plain, a dispatch a tensor",
        "copy of 4 B",
    ];
    let times = bench.in_turns(ROUNDS, names.len(), |which, encoder| match which {
        0 => one.step(encoder).expect("a step"),
        1 => many.step(encoder).expect("a step"),
        2..=4 => plain[which - 2].step(encoder),
        5 => each.step(encoder),
        _ => encoder.copy_buffer_to_buffer(&from, 0, &to, 0, from.size()),
    });
    for (name, times) in names.iter().zip(&times) {
        println!("  {name:34} {:8.2} ms", 1e3 * support::median(times));
    }
    let fastest = (2..5)
        .min_by(|a, b| support::median(&times[*a]).total_cmp(&support::median(&times[*b])))
        .unwrap_or(2);
    ratio("speed of ours / fastest hand-written kernel", &times[fastest], &times[0], ">= 0.95");
    ratio("time of 1000 tensors in 16 groups / one tensor", &times[1], &times[0], "<= 1.05");
    ratio("time of a dispatch a tensor / ours, 1000 tensors", &times[5], &times[1], "how much faster");
    let copied: Vec<f64> = times[6].iter().map(|time| time * 28.0 / 8.0).collect();
    ratio("28 B a parameter at the copy's rate / ours", &copied, &times[0], "share of the copy's rate");
}

fn memory(bench: &Bench) {
    println!("\nmemory beyond parameters, gradients and slots, 10 M parameters");
    for (tensors, groups, packing) in [
        (1, 1, Packing::Bindable),
        (1000, 16, Packing::Bindable),
        (10_000, 465, Packing::Bindable),
        (10_000, 465, Packing::Tight),
    ] {
        let elements = 10_000_000;
        let (params, optimizer) = adamw(bench, tensors, groups, elements, packing);
        let extra = params.overhead_bytes() + optimizer.overhead_bytes();
        let share = 100.0 * extra as f64 / (elements as f64 * 16.0);
        println!(
            "  {tensors:6} tensors, {groups:4} groups, {packing:?}: {extra:8} bytes = {share:.3} %  (< 0.5 %)"
        );
    }
}

/// The time of recording a step, and of recording it right after the step before was run: on a software
/// adapter that has emptied the CPU's caches.
fn host(bench: &Bench, criterion: &mut Criterion) {
    let (_params, mut optimizer) = adamw(bench, 10_000, 465, 100_000, Packing::Tight);
    for run in [false, true] {
        let after = if run {
            "run before the next (< 25 us)"
        } else {
            "never submitted, so that wgpu keeps its writes"
        };
        let name = format!("host side of a step: 10 000 tensors, 465 groups, each {after}");
        criterion.bench_function(&name, |b| {
            b.iter_custom(|iterations| {
                let mut total = std::time::Duration::ZERO;
                for _ in 0..iterations {
                    let mut encoder = bench.device.create_command_encoder(&Default::default());
                    let start = std::time::Instant::now();
                    optimizer.step(black_box(&mut encoder)).expect("a step");
                    total += start.elapsed();
                    if run {
                        bench.submit(encoder);
                    }
                }
                total
            });
        });
    }
}

fn main() {
    let Some(bench) = Bench::open() else { return };
    // `cargo test` runs benches too; they only prove that they still work then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    kernels(&bench);
    memory(&bench);
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    host(&bench, &mut criterion);
    criterion.final_summary();
}
