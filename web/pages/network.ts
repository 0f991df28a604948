// A network that reads 8 x 8 digits: 64 inputs, one hidden layer, 10 outputs. Its own WGSL, on the optimizer's buffers.

import { createOptimizer } from "../ts/index.js";
import type { Optimizer } from "../ts/index.js";

export const HIDDEN = 48;
export const BATCH = 64;

/** Images as numbers from 0 to 1, and their digits. */
export interface Digits {
  images: Float32Array;
  labels: Uint32Array;
  count: number;
}

/** Reads the digits; the first 1 437 in a shuffled order train, the others test. */
export async function loadDigits(url: string): Promise<{ train: Digits; test: Digits }> {
  const answer = await fetch(url);
  if (!answer.ok || !answer.body) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  const text = await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).text();
  const lines = text.trim().split("\n").map((line) => line.split(",").map(Number));
  let state = 12345;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  for (let i = lines.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [lines[i], lines[j]] = [lines[j]!, lines[i]!];
  }
  const cut = Math.floor(lines.length * 0.8);
  const digits = (lines: number[][]): Digits => ({
    images: Float32Array.from(lines.flatMap((line) => line.slice(0, 64).map((pixel) => pixel / 16))),
    labels: Uint32Array.from(lines.map((line) => line[64]!)),
    count: lines.length,
  });
  return { train: digits(lines.slice(0, cut)), test: digits(lines.slice(cut)) };
}

const WGSL = /* wgsl */ `
  const INPUTS = 64u;
  const HIDDEN = ${HIDDEN}u;
  const OUTPUTS = 10u;

  struct Batch { first: u32, count: u32, all: u32, of_batch: f32 }
  @group(0) @binding(0) var<uniform> batch: Batch;
  @group(0) @binding(1) var<storage, read> images: array<f32>;
  @group(0) @binding(2) var<storage, read> labels: array<u32>;
  @group(0) @binding(3) var<storage, read> w1: array<f32>;
  @group(0) @binding(4) var<storage, read> w2: array<f32>;
  // For each image: hidden units, their gradients, the outputs' gradients.
  @group(0) @binding(5) var<storage, read_write> acts: array<f32>;
  @group(0) @binding(6) var<storage, read_write> slopes: array<f32>;
  // (loss, 1 if right) of each image.
  @group(0) @binding(7) var<storage, read_write> scores: array<vec2f>;

  const ACTS = HIDDEN + HIDDEN + OUTPUTS;
  var<workgroup> hidden: array<f32, HIDDEN>;
  var<workgroup> outputs: array<f32, OUTPUTS>;

  // A workgroup for each image. The last row of each matrix is the bias.
  @compute @workgroup_size(HIDDEN)
  fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let image = (batch.first + group.x) % batch.all;
    var sum = w1[INPUTS * HIDDEN + lane];
    for (var i = 0u; i < INPUTS; i++) { sum += images[image * INPUTS + i] * w1[i * HIDDEN + lane]; }
    hidden[lane] = max(sum, 0.0);
    workgroupBarrier();
    if (lane < OUTPUTS) {
      var z = w2[HIDDEN * OUTPUTS + lane];
      for (var i = 0u; i < HIDDEN; i++) { z += hidden[i] * w2[i * OUTPUTS + lane]; }
      outputs[lane] = z;
    }
    workgroupBarrier();
    var highest = outputs[0];
    var best = 0u;
    for (var k = 1u; k < OUTPUTS; k++) {
      if (outputs[k] > highest) { highest = outputs[k]; best = k; }
    }
    var total = 0.0;
    for (var k = 0u; k < OUTPUTS; k++) { total += exp(outputs[k] - highest); }
    let label = labels[image];
    var back = 0.0;
    for (var k = 0u; k < OUTPUTS; k++) {
      let slope = (exp(outputs[k] - highest) / total - select(0.0, 1.0, k == label)) * batch.of_batch;
      back += slope * w2[lane * OUTPUTS + k];
      if (lane == 0u) { acts[group.x * ACTS + 2u * HIDDEN + k] = slope; }
    }
    acts[group.x * ACTS + lane] = hidden[lane];
    acts[group.x * ACTS + HIDDEN + lane] = select(0.0, back, hidden[lane] > 0.0);
    if (lane == 0u) {
      scores[group.x] = vec2f(log(total) + highest - outputs[label], select(0.0, 1.0, best == label));
    }
  }

  // An invocation for each weight of the first matrix.
  @compute @workgroup_size(64)
  fn first(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= (INPUTS + 1u) * HIDDEN) { return; }
    let row = id.x / HIDDEN;
    var sum = 0.0;
    for (var b = 0u; b < batch.count; b++) {
      let image = (batch.first + b) % batch.all;
      let x = select(images[min(image * INPUTS + row, arrayLength(&images) - 1u)], 1.0, row == INPUTS);
      sum += x * acts[b * ACTS + HIDDEN + id.x % HIDDEN];
    }
    slopes[id.x] = sum;
  }

  @compute @workgroup_size(64)
  fn second(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= (HIDDEN + 1u) * OUTPUTS) { return; }
    let row = id.x / OUTPUTS;
    var sum = 0.0;
    for (var b = 0u; b < batch.count; b++) {
      let x = select(acts[b * ACTS + min(row, HIDDEN - 1u)], 1.0, row == HIDDEN);
      sum += x * acts[b * ACTS + 2u * HIDDEN + id.x % OUTPUTS];
    }
    slopes[id.x] = sum;
  }`;

/** What all networks of a page share: pipelines and images. */
export class Task {
  readonly device: GPUDevice;
  readonly layout: GPUBindGroupLayout;
  readonly pipelines: Record<"forward" | "first" | "second", GPUComputePipeline>;
  readonly train: { images: GPUBuffer; labels: GPUBuffer; count: number };
  readonly test: { images: GPUBuffer; labels: GPUBuffer; count: number };

  private constructor(device: GPUDevice, layout: GPUBindGroupLayout, pipelines: Task["pipelines"], data: { train: Digits; test: Digits }) {
    [this.device, this.layout, this.pipelines] = [device, layout, pipelines];
    const upload = ({ images, labels, count }: Digits) => ({ images: filled(device, images), labels: filled(device, labels), count });
    this.train = upload(data.train);
    this.test = upload(data.test);
  }

  static async of(device: GPUDevice, data: { train: Digits; test: Digits }): Promise<Task> {
    const types = ["uniform", ...Array(4).fill("read-only-storage"), ...Array(3).fill("storage")] as GPUBufferBindingType[];
    const layout = device.createBindGroupLayout({
      entries: types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
    });
    const module = device.createShaderModule({ code: WGSL });
    const pipeline = (entryPoint: string) =>
      device.createComputePipelineAsync({ layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint } });
    const [forward, first, second] = await Promise.all(["forward", "first", "second"].map(pipeline));
    return new Task(device, layout, { forward: forward!, first: first!, second: second! }, data);
  }
}

function filled(device: GPUDevice, words: Float32Array | Uint32Array): GPUBuffer {
  const buffer = device.createBuffer({ size: words.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, words.buffer, words.byteOffset, words.byteLength);
  return buffer;
}

/** A network that one rule trains. */
export class Network {
  readonly optimizer: Optimizer;
  #task: Task;
  #batches: { uniform: GPUBuffer; first: GPUBindGroup; second: GPUBindGroup };
  #testing: { uniform: GPUBuffer; group: GPUBindGroup; scores: GPUBuffer };
  #made: GPUBuffer[] = [];
  steps = 0;

  private constructor(task: Task, optimizer: Optimizer) {
    this.#task = task;
    this.optimizer = optimizer;
    const { device } = task;
    const make = (size: number, usage: number) => {
      const buffer = device.createBuffer({ size, usage });
      this.#made.push(buffer);
      return buffer;
    };
    const words = 4 * (2 * HIDDEN + 10);
    const group = (data: Task["train"], uniform: GPUBuffer, acts: GPUBuffer, slopes: GPUBindingResource, scores: GPUBuffer) => {
      const resources: GPUBindingResource[] = [
        { buffer: uniform },
        { buffer: data.images },
        { buffer: data.labels },
        optimizer.param("w1"),
        optimizer.param("w2"),
        { buffer: acts },
        slopes,
        { buffer: scores },
      ];
      return device.createBindGroup({ layout: task.layout, entries: resources.map((resource, binding) => ({ binding, resource })) });
    };
    const { STORAGE, UNIFORM, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const uniform = make(16, UNIFORM | COPY_DST);
    const acts = make(words * BATCH, STORAGE);
    const scores = make(8 * BATCH, STORAGE | COPY_SRC);
    this.#batches = {
      uniform,
      first: group(task.train, uniform, acts, optimizer.grad("w1"), scores),
      second: group(task.train, uniform, acts, optimizer.grad("w2"), scores),
    };
    const { count } = task.test;
    const testing = make(16, UNIFORM | COPY_DST);
    const tested = make(8 * count, STORAGE | COPY_SRC);
    const none = make(4, STORAGE);
    this.#testing = { uniform: testing, group: group(task.test, testing, make(words * count, STORAGE), { buffer: none }, tested), scores: tested };
    this.#batch(testing, 0, count, count);
  }

  /** With He's starting weights. */
  static async of(task: Task, options: { optimizer: string; [option: string]: unknown }, seed: number): Promise<Network> {
    const optimizer = await createOptimizer(task.device, {
      ...options,
      tensors: [
        { name: "w1", shape: [65, HIDDEN] },
        { name: "w2", shape: [HIDDEN + 1, 10] },
      ],
    });
    let state = (seed * 2654435761) >>> 0;
    const random = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
    const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const start = (inputs: number, outputs: number) =>
      Float32Array.from({ length: (inputs + 1) * outputs }, (_, i) => (i < inputs * outputs ? normal() * Math.sqrt(2 / inputs) : 0));
    optimizer.write("w1", start(64, HIDDEN));
    optimizer.write("w2", start(HIDDEN, 10));
    return new Network(task, optimizer);
  }

  #batch(uniform: GPUBuffer, first: number, count: number, all: number): void {
    const words = new ArrayBuffer(16);
    new Uint32Array(words).set([first, count, all]);
    new Float32Array(words)[3] = 1 / count;
    this.#task.device.queue.writeBuffer(uniform, 0, words);
  }

  /** One step, submitted. */
  step(): void {
    const { device, pipelines, train } = this.#task;
    this.#batch(this.#batches.uniform, (this.steps * BATCH) % train.count, BATCH, train.count);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setBindGroup(0, this.#batches.first);
    pass.setPipeline(pipelines.forward);
    pass.dispatchWorkgroups(BATCH);
    pass.setPipeline(pipelines.first);
    pass.dispatchWorkgroups(Math.ceil((65 * HIDDEN) / 64));
    pass.setBindGroup(0, this.#batches.second);
    pass.setPipeline(pipelines.second);
    pass.dispatchWorkgroups(Math.ceil(((HIDDEN + 1) * 10) / 64));
    pass.end();
    this.optimizer.step(encoder);
    device.queue.submit([encoder.finish()]);
    this.steps += 1;
  }

  /** Mean loss and share of right answers over the images that were not trained on. */
  async test(): Promise<{ loss: number; accuracy: number }> {
    const { device, pipelines, test } = this.#task;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setBindGroup(0, this.#testing.group);
    pass.setPipeline(pipelines.forward);
    pass.dispatchWorkgroups(test.count);
    pass.end();
    device.queue.submit([encoder.finish()]);
    const scores = await this.optimizer.readRanges([{ buffer: this.#testing.scores, offset: 0, size: 8 * test.count }]);
    const mean = (at: number) => scores.reduce((sum, x, i) => (i % 2 === at ? sum + x : sum), 0) / test.count;
    return { loss: mean(0), accuracy: mean(1) };
  }

  /** The probability of each digit for an image: on the CPU, from the parameters as they are. */
  async read(image: ArrayLike<number>): Promise<number[]> {
    const [w1, w2] = await Promise.all([this.optimizer.read("w1"), this.optimizer.read("w2")]);
    const layer = (x: ArrayLike<number>, w: Float32Array, outputs: number) =>
      Array.from({ length: outputs }, (_, j) => {
        let sum = w[x.length * outputs + j]!;
        for (let i = 0; i < x.length; i++) sum += x[i]! * w[i * outputs + j]!;
        return sum;
      });
    const outputs = layer(layer(image, w1, HIDDEN).map((x) => Math.max(x, 0)), w2, 10);
    const powers = outputs.map((z) => Math.exp(z - Math.max(...outputs)));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }

  destroy(): void {
    this.optimizer.destroy();
    for (const buffer of this.#made) buffer.destroy();
  }
}
