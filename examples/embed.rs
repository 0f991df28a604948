//! An engine that owns its device, queue, buffers, encoder and passes, and lets the library update two tensors
//! inside its own frame. Nothing here is submitted, polled or awaited by the library.
//!
//! ```text
//! cargo run --release --example embed
//! ```

use anyhow::{Context, ensure};
use futures::FutureExt;
use wgpu_optim::rules::Adam;
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{BufferRange, Optimizer, ParamSet};

/// The engine's own backward pass, of the loss `sum((theta - i mod 7)^2) / 2`.
const BACKWARD: &str = "
    @group(0) @binding(0) var<storage, read> theta: array<f32>;
    @group(0) @binding(1) var<storage, read_write> g: array<f32>;

    @compute @workgroup_size(64)
    fn backward(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x < arrayLength(&g)) {
            g[id.x] = theta[id.x] - f32(id.x % 7u);
        }
    }
";

/// The engine's tensors: name, elements, and the byte at which parameters and gradients start.
const TENSORS: [(&str, u64, u64, u64); 2] = [("weight", 1000, 256, 4096), ("bias", 10, 8192, 0)];

fn main() -> anyhow::Result<()> {
    // The engine makes its device; the library only says what it wants of it.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .context("no adapter: install a Vulkan driver, e.g. `apt-get install mesa-vulkan-drivers`")?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("engine"),
        required_features: wgpu_optim::required_features(&adapter),
        required_limits: wgpu_optim::required_limits(&adapter),
        ..Default::default()
    }))?;

    // It already has buffers, with much else in them.
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let [scene, gradients] = [Some("scene"), Some("gradients")].map(|label| {
        let size = 16384;
        device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
    });

    // Two tensors in them, one group: one dispatch, since it is one pair of buffers.
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    let ids = TENSORS.map(|(name, elements, param, grad)| {
        let (param, grad) = (BufferRange::new(&scene, param), BufferRange::new(&gradients, grad));
        builder.external(name, [elements as usize], group, param, grad)
    });
    let params = builder.build(&device)?;
    let mut optimizer = Optimizer::new(&device, &queue, &params, [Adam { lr: 0.1, ..Adam::default() }])?;
    println!("{}: dispatches a step: {}", adapter.get_info().name, optimizer.dispatches_per_step());

    let source = wgpu::ShaderSource::Wgsl(BACKWARD.into());
    let backward = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("backward"),
        layout: None,
        module: &device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source }),
        entry_point: Some("backward"),
        compilation_options: Default::default(),
        cache: None,
    });
    let bindings = TENSORS.map(|(_, elements, param, grad)| {
        let range = |buffer, offset| {
            let size = wgpu::BufferSize::new(elements * 4);
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
        };
        device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("backward"),
            layout: &backward.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: range(&scene, param) },
                wgpu::BindGroupEntry { binding: 1, resource: range(&gradients, grad) },
            ],
        })
    });

    let (mut in_flight, mut pending) = (None, None);
    for frame in 1..=300 {
        if frame == 200 {
            optimizer.group_mut(group)?.lr = 0.01;
            println!("frame {frame}: lr is 0.01 from here on");
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        // The host scalars of this step go into the encoder, the dispatch into the engine's own pass.
        let step = optimizer.prepare(&mut encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&backward);
        for ((_, elements, ..), bindings) in TENSORS.iter().zip(&bindings) {
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(elements.div_ceil(64) as u32, 1, 1);
        }
        step.encode(&mut pass);
        drop(pass);
        if frame == 100 {
            // A copy of the slot as it is here; the future is asked once a frame, below.
            println!("frame {frame}: asking for slot v of 'bias'");
            pending = Some(Box::pin(optimizer.download_slot(&mut encoder, ids[1], "v")?.read()));
        }
        // The engine keeps at most one frame in flight.
        if let Some(previous) = in_flight.replace(queue.submit([encoder.finish()])) {
            device.poll(wgpu::PollType::Wait { submission_index: Some(previous), timeout: None })?;
        }
        if let Some(v) = pending.as_mut().and_then(|read| read.now_or_never()) {
            println!("frame {frame}: it is here: {:?}", &v?[..3]);
            pending = None;
        }
    }

    ensure!(pending.is_none(), "the slot never came");
    // A tool may block.
    let bias = params.read_param_blocking(&queue, ids[1])?;
    println!("after {} steps 'bias' is {bias:.3?}", optimizer.steps());
    let far = bias.iter().enumerate().find(|(i, theta)| (*theta - (i % 7) as f32).abs() > 0.01);
    ensure!(far.is_none(), "it should be 0 to 6 and again from 0");
    Ok(())
}
