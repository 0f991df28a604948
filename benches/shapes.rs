//! The ladder of shapes: AdamW with long runs and with one vec4 an invocation, at three sizes, in turns with the best
//! hand-written kernel's shape and a kernel that copies.
//!
//! `cargo bench --bench shapes`; `WGPU_OPTIM_ADAPTER=text` chooses an adapter. `docs/benchmarks` has conclusions.

#[path = "support/mod.rs"]
mod support;

use support::{Bench, median, ratio};
use wgpu_optim::program::Shape;
use wgpu_optim::rules::Adam;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{Optimizer, Options, ParamSet};

const ROUNDS: usize = 11;
const SHAPES: [(&str, Shape); 4] = [
    ("long runs, 64 invocations", Shape::Long),
    ("one vec4, 64 invocations", Shape::Wide(64)),
    ("one vec4, 128 invocations", Shape::Wide(128)),
    ("one vec4, 256 invocations", Shape::Wide(256)),
];

fn main() {
    let Some(bench) = Bench::open() else { return };
    // `cargo test` runs benches too; they only prove that they still work then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for elements in [1 << 20, 1 << 23, 1 << 25] {
        ladder(&bench, elements);
    }
}

fn ladder(bench: &Bench, elements: usize) {
    println!("\n{:.1} M parameters, AdamW, {ROUNDS} rounds in turns", elements as f64 / 1e6);
    let mut rungs: Vec<(ParamSet, Optimizer<Adam>)> =
        SHAPES.iter().map(|(_, shape)| adamw(bench, elements, *shape)).collect();
    let copy = Copy::new(bench, elements);
    let times = bench.in_turns(ROUNDS, SHAPES.len() + 1, |which, encoder| match rungs.get_mut(which) {
        Some((_, optimizer)) => optimizer.step(encoder).expect("a step"),
        None => copy.record(encoder),
    });
    for ((name, _), times) in SHAPES.iter().zip(&times) {
        println!("  {name:34} {:8.3} ms", 1e3 * median(times));
    }
    let last = times.len() - 1;
    println!("  {:34} {:8.3} ms", "a kernel that copies 4 B", 1e3 * median(&times[last]));
    for ((name, _), rung) in SHAPES.iter().zip(&times).skip(1) {
        ratio(&format!("time of {name} / long runs"), rung, &times[0], "the shape follows the adapter");
    }
    let best =
        (0..SHAPES.len()).min_by(|a, b| median(&times[*a]).total_cmp(&median(&times[*b]))).unwrap_or(0);
    let copied: Vec<f64> = times[last].iter().map(|time| time * 28.0 / 8.0).collect();
    ratio(
        "28 B a parameter at the copy's rate / the best",
        &copied,
        &times[best],
        "share of the copy's rate",
    );
}

fn adamw(bench: &Bench, elements: usize, shape: Shape) -> (ParamSet, Optimizer<Adam>) {
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    builder.tensor("all", [elements], group);
    let params = builder.build(&bench.device).expect("the arenas");
    let mut options = Options::default();
    options.shape = Some(shape);
    let optimizer = Optimizer::with_options(&bench.device, &bench.queue, &params, [Adam::adamw()], &options);
    (params, optimizer.expect("the optimizer"))
}

/// Reads and writes 4 bytes an element, one vec4 an invocation: the rate that a kernel can reach, which a copy between
/// buffers need not.
struct Copy {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: u32,
}

impl Copy {
    const WGSL: &str = "
        @group(0) @binding(0) var<storage, read> from_words: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> to_words: array<vec4<f32>>;

        @compute @workgroup_size(128)
        fn copy(
            @builtin(workgroup_id) id: vec3<u32>,
            @builtin(num_workgroups) grid: vec3<u32>,
            @builtin(local_invocation_index) lane: u32,
        ) {
            let i = (id.y * grid.x + id.x) * 128u + lane;
            if (i < arrayLength(&to_words)) {
                to_words[i] = from_words[i];
            }
        }
    ";

    fn new(bench: &Bench, elements: usize) -> Self {
        let device = &bench.device;
        let source = wgpu::ShaderSource::Wgsl(Self::WGSL.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let buffers = [(); 2].map(|()| bench.buffer(4 * elements as u64, BufferUsages::STORAGE));
        let entries: Vec<_> = (0..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
        Self { pipeline, group, workgroups: (elements / 4).div_ceil(128) as u32 }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let rows = self.workgroups.div_ceil(65_535);
        pass.dispatch_workgroups(self.workgroups.div_ceil(rows), rows, 1);
    }
}
