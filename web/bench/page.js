// One step of AdamW (of tfjs: Adam, it has no other) over the same tensors, by four hands: wgpu-optim, a hand-written kernel over
// one buffer, tfjs, jax-js. Each on a device of its own in this page, in turns.

import { createOptimizer } from "wgpu-optim";
import { shareBuffers } from "./tfjs-buffers.js";

/** Tensors of about `count` parameters in all. */
const shapes = (count, tensors) => Array.from({ length: tensors }, () => Math.floor(count / tensors / 4) * 4);
const filled = (length) => Float32Array.from({ length }, (_, i) => ((i % 1021) + 1) / 1024);
const LR = 1e-3;

/** Counts dispatches of every device in the page. */
let dispatches = 0;
const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...grid) {
  dispatches += 1;
  return dispatchWorkgroups.apply(this, grid);
};

async function open() {
  const adapter = await navigator.gpu.requestAdapter();
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
}

const libraries = {
  async "wgpu-optim"(lens) {
    const device = await open();
    const tensors = lens.map((length, i) => ({ name: `${i}`, shape: [length] }));
    const optimizer = await createOptimizer(device, { optimizer: "adamw", lr: LR, tensors });
    lens.forEach((length, i) => optimizer.writeGrad(`${i}`, filled(length)));
    const step = () => {
      const encoder = device.createCommandEncoder();
      optimizer.step(encoder);
      device.queue.submit([encoder.finish()]);
    };
    const first = async () => (await optimizer.read("0"))[0];
    return { step, first, wait: () => device.queue.onSubmittedWorkDone(), close: () => (optimizer.destroy(), device.destroy()) };
  },

  async "hand-written, one buffer"(lens) {
    const device = await open();
    const count = lens.reduce((sum, length) => sum + length);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffers = [0, 1, 2, 3].map(() => device.createBuffer({ size: 4 * count, usage }));
    device.queue.writeBuffer(buffers[1], 0, filled(count));
    const scalars = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const kernels = [];
    for (const [width, each] of [[256, 1], [256, 4], [64, 16], [64, 64]]) {
      const code = `
        @group(0) @binding(0) var<storage, read_write> theta: array<vec4f>;
        @group(0) @binding(1) var<storage, read> g: array<vec4f>;
        @group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
        @group(0) @binding(3) var<storage, read_write> v: array<vec4f>;
        @group(0) @binding(4) var<uniform> h: vec4f; // lr / bc1, 1 / bc2, lr weight_decay, eps
        @compute @workgroup_size(${width})
        fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
          let first = (group.y * grid.x + group.x) * ${width * each}u + lane;
          for (var k = 0u; k < ${each}u; k++) {
            let i = first + k * ${width}u;
            if (i >= arrayLength(&theta)) { return; }
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
            theta[i] = theta[i] - h.z * theta[i] - h.x * m[i] / (sqrt(v[i] * h.y) + h.w);
          }
        }`;
      const module = device.createShaderModule({ code });
      const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
      const entries = [...buffers, scalars].map((buffer, binding) => ({ binding, resource: { buffer } }));
      const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      const groups = Math.ceil(count / 4 / (width * each));
      const rows = Math.ceil(groups / 65_535);
      kernels.push({ pipeline, group, grid: [Math.ceil(groups / rows), rows], time: Infinity });
    }
    let t = 0;
    let best;
    const step = ({ pipeline, group, grid } = best) => {
      t += 1;
      const h = [LR / (1 - 0.9 ** t), 1 / (1 - 0.999 ** t), LR * 0.01, 1e-8];
      device.queue.writeBuffer(scalars, 0, Float32Array.from(h));
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
      device.queue.submit([encoder.finish()]);
    };
    // The best of its shapes.
    for (let round = 0; round < 4; round++) {
      for (const kernel of kernels) {
        const start = performance.now();
        step(kernel);
        await device.queue.onSubmittedWorkDone();
        if (round > 0) kernel.time = Math.min(kernel.time, performance.now() - start);
      }
    }
    best = kernels.reduce((best, kernel) => (kernel.time < best.time ? kernel : best));
    return { step: () => step(), first: async () => NaN, wait: () => device.queue.onSubmittedWorkDone(), close: () => device.destroy() };
  },

  async "tfjs 4.22"(lens) {
    const tf = await import("./tfjs.js");
    await tf.setBackend("webgpu");
    await tf.ready();
    const device = tf.backend().device;
    const variables = lens.map((length, i) => tf.variable(tf.zeros([length]), true, `w${i}`));
    const gradients = Object.fromEntries(lens.map((length, i) => [`w${i}`, tf.tensor1d(filled(length))]));
    const adam = tf.train.adam(LR);
    const step = () => {
      tf.tidy(() => adam.applyGradients(gradients));
      // What is recorded is submitted only when somebody asks.
      if (tf.backend().commandEncoder) tf.backend().submitQueue();
    };
    const first = async () => (await variables[0].data())[0];
    return { step, first, wait: () => device.queue.onSubmittedWorkDone(), close: () => tf.disposeVariables() };
  },

  async "jax-js 0.1"(lens) {
    const { defaultDevice, init, jit, numpy: np, blockUntilReady } = await import("./jax.js");
    if (!(await init()).includes("webgpu")) throw new Error("jax-js has no WebGPU");
    defaultDevice("webgpu");
    const gradients = lens.map((length) => np.array(filled(length)));
    let [theta, m, v] = [0, 1, 2].map(() => lens.map((length) => np.zeros([length])));
    // Its optax is no package of its own: the same equation in its arrays, all tensors in one compiled function.
    const update = jit((theta, g, m, v, h) => {
      const next = { theta: [], m: [], v: [] };
      for (let i = 0; i < theta.length; i++) {
        const mi = m[i].mul(0.9).add(g[i].ref.mul(0.1));
        const vi = v[i].mul(0.999).add(g[i].ref.mul(g[i]).mul(0.001));
        const denominator = np.sqrt(vi.ref.mul(h.ref.slice(1))).add(1e-8);
        next.theta.push(theta[i].mul(1 - LR * 0.01).sub(mi.ref.mul(h.ref.slice(0)).div(denominator)));
        next.m.push(mi);
        next.v.push(vi);
      }
      h.dispose();
      return next;
    });
    let t = 0;
    const step = () => {
      t += 1;
      const h = np.array([LR / (1 - 0.9 ** t), 1 / (1 - 0.999 ** t)]);
      const next = update(theta, gradients.map((g) => g.ref), m, v, h);
      ({ theta, m, v } = next);
    };
    const all = () => [...theta, ...m, ...v].map((x) => x.ref);
    return {
      step,
      first: async () => (await theta[0].ref.data())[0],
      wait: () => blockUntilReady(all()),
      close: () => undefined,
    };
  },
};

/** A table of what a step of each costs. */
export async function compare(count, tensors, rounds, names) {
  const lens = shapes(count, tensors);
  const runs = {};
  const failed = {};
  for (const name of names) {
    try {
      const run = await libraries[name](lens);
      for (let i = 0; i < 2; i++) {
        run.step();
        await run.wait();
      }
      runs[name] = { ...run, milliseconds: [], host: [] };
    } catch (error) {
      failed[name] = String(error?.message ?? error).slice(0, 200);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const run of Object.values(runs)) {
      dispatches = 0;
      const start = performance.now();
      run.step();
      run.host.push(performance.now() - start);
      await run.wait();
      run.milliseconds.push(performance.now() - start);
      run.dispatches = dispatches;
    }
  }
  const rows = [];
  for (const [name, run] of Object.entries(runs)) {
    const least = (values) => Math.min(...values);
    rows.push({ name, milliseconds: least(run.milliseconds), host: least(run.host), dispatches: run.dispatches, first: await run.first() });
    run.close();
  }
  return { parameters: lens.reduce((sum, length) => sum + length), tensors, rows, failed };
}

window.compare = compare;
window.shareBuffers = shareBuffers;
window.libraries = Object.keys(libraries);
