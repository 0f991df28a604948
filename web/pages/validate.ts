// Holds the page's device against the reference, as the Rust module `validate` does on other devices.

import { asked, limitsOf, load, OptimizerError, wasm } from "../ts/core.js";
import { Optimizer } from "../ts/optimizer.js";
import type { Slice } from "../ts/types.js";

/** What came of a case; see the Rust type `Verdict`. */
export interface Verdict {
  rule: { optimizer: string };
  wrappers: string[];
  poison: string;
  worst: number;
  words: number;
  violation: { step: number; tensor: number; slot: string; element: number; got: string; expected: string } | null;
}

/** What the device does where WGSL leaves it a choice; see the Rust type `Probe`. */
export type Probe = { conforms: boolean } & Record<string, boolean>;

/** Runs a case: every word of every step must be one that WGSL allows. */
export async function check(device: GPUDevice, cases: wasm.Cases, index: number, wrong = false): Promise<Verdict> {
  const module = await load();
  const trial = asked(() => cases.start(index, limitsOf(device), wrong));
  const optimizer = await Optimizer.of(device, module, trial.core(), []);
  try {
    const names = optimizer.tensors.map(({ name }) => name);
    const ranges = optimizer.ranges(JSON.parse(trial.slices()) as Slice[]);
    names.forEach((name, tensor) => optimizer.write(name, trial.parameters(tensor)));
    trial.see(await optimizer.readRanges(ranges));
    while (trial.next()) {
      names.forEach((name, tensor) => optimizer.writeGrad(name, trial.gradients(tensor)));
      const encoder = device.createCommandEncoder();
      optimizer.step(encoder);
      device.queue.submit([encoder.finish()]);
      trial.see(await optimizer.readRanges(ranges));
    }
    return JSON.parse(trial.verdict()) as Verdict;
  } finally {
    optimizer.destroy();
    trial.free();
  }
}

/** Probes the device. */
export async function probe(device: GPUDevice): Promise<Probe> {
  await load();
  const { wgsl, kernels, around } = JSON.parse(wasm.probe_kernels()) as {
    wgsl: string;
    kernels: { entry_point: string; workgroups: [number, number]; reads: boolean }[];
    around: number;
  };
  const numbers = wasm.probe_numbers();
  const size = numbers.byteLength;
  device.pushErrorScope("validation");
  const input = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(input, 0, numbers.buffer, numbers.byteOffset, size);
  const whole = around + size + around;
  const staging = device.createBuffer({
    size: whole * kernels.length,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const module = device.createShaderModule({ code: wgsl });
  const encoder = device.createCommandEncoder();
  for (const [index, { entry_point, workgroups, reads }] of kernels.entries()) {
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: entry_point } });
    const output = device.createBuffer({ size: whole, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const results = { binding: 1, resource: { buffer: output, offset: around, size } };
    const entries = reads ? [{ binding: 0, resource: { buffer: input } }, results] : [results];
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...workgroups);
    pass.end();
    encoder.copyBufferToBuffer(output, 0, staging, whole * index, whole);
  }
  device.queue.submit([encoder.finish()]);
  const refused = await device.popErrorScope();
  if (refused) throw new OptimizerError(`the probes were refused: ${refused.message}`);
  await staging.mapAsync(GPUMapMode.READ);
  const results = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return JSON.parse(asked(() => wasm.probe_of(results))) as Probe;
}

export { wasm };
