// The objects of a plan on the page's device: buffers with their first contents, pipelines, bind groups.

import { OptimizerError, wasm } from "./core.js";
import type { Plan, Slice } from "./types.js";

/** One dispatch of a step. */
export interface Dispatch {
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  workgroups: [number, number];
}

/** Everything of a plan on the device. */
export interface Objects {
  buffers: GPUBuffer[];
  /** Those that were made here, and end with the optimizer. */
  made: GPUBuffer[];
  dispatches: Dispatch[];
}

/** Makes them; `own` are the page's buffers of parameters and gradients, in order. */
export async function makeObjects(device: GPUDevice, plan: Plan, core: wasm.Core, own: GPUBuffer[]): Promise<Objects> {
  const made: GPUBuffer[] = [];
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  let failed: unknown;
  let objects: Objects | undefined;
  try {
    const buffers = makeBuffers(device, plan, core, own, made);
    objects = { buffers, made, dispatches: await makeDispatches(device, plan, buffers) };
  } catch (error) {
    failed = error;
  }
  const refused = (await device.popErrorScope()) ?? (await device.popErrorScope());
  if (objects && !refused) return objects;
  for (const buffer of made) buffer.destroy();
  const reason = refused?.message ?? (failed instanceof Error ? failed.message : String(failed));
  throw failed instanceof OptimizerError ? failed : new OptimizerError(`rule '${plan.optimizer}': ${reason}`);
}

function makeBuffers(device: GPUDevice, plan: Plan, core: wasm.Core, own: GPUBuffer[], made: GPUBuffer[]): GPUBuffer[] {
  const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  let nextOwn = 0;
  const buffers = plan.buffers.map((buffer, index) => {
    const mine = plan.arenas[index] === false ? own[nextOwn++] : undefined;
    if (mine) return mine;
    const usage = buffer.usage === "uniform" ? GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST : storage;
    const { label, size } = buffer;
    const result = device.createBuffer({ label, size, usage, mappedAtCreation: buffer.filled });
    made.push(result);
    return result;
  });
  const views = new Map<number, Uint32Array>();
  const fills = core.fills();
  for (let i = 0; i < fills.count(); i++) {
    const [buffer, at, times] = fills.place(i) as unknown as [number, number, number];
    const words = fills.words(i);
    const view = views.get(buffer) ?? new Uint32Array(buffers[buffer]!.getMappedRange());
    views.set(buffer, view);
    if (words.length === 1) view.fill(words[0]!, at / 4, at / 4 + times);
    else for (let time = 0; time < times; time++) view.set(words, at / 4 + time * words.length);
  }
  fills.free();
  plan.buffers.forEach((buffer, index) => buffer.filled && buffers[index]!.unmap());
  return buffers;
}

async function makeDispatches(device: GPUDevice, plan: Plan, buffers: GPUBuffer[]): Promise<Dispatch[]> {
  const { label } = plan;
  const layouts = plan.layouts.map((layout) =>
    device.createBindGroupLayout({
      label,
      entries: layout.map((kind, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: {
          type: kind === "record" ? "uniform" : kind === "read_only" ? "read-only-storage" : "storage",
          hasDynamicOffset: kind === "record",
        },
      })),
    }),
  );
  const pipelines = await Promise.all(
    plan.modules.map((module) =>
      device.createComputePipelineAsync({
        label: module.label,
        layout: device.createPipelineLayout({ label: module.label, bindGroupLayouts: [layouts[module.layout]!] }),
        compute: {
          module: device.createShaderModule({ label: module.label, code: module.wgsl }),
          entryPoint: module.entry_point,
        },
      }),
    ),
  );
  const bind = ({ buffer, offset, size }: Slice): GPUBufferBinding => ({ buffer: buffers[buffer]!, offset, size });
  const groups = plan.bindings.map((group) =>
    device.createBindGroup({
      label,
      layout: layouts[group.layout]!,
      entries: group.slices.map((slice, binding) => ({ binding, resource: bind(slice) })),
    }),
  );
  return plan.passes.map((pass) => ({
    pipeline: pipelines[pass.module]!,
    bindGroup: groups[pass.bindings]!,
    workgroups: pass.workgroups,
  }));
}
