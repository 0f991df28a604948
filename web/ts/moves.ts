// Takes a run over to another set of tensors: copies, and rows moved by a dispatch for each pair of buffers.

import { OptimizerError } from "./core.js";
import type { wasm } from "./core.js";
import type { Place, Slice } from "./types.js";

/** Of a list of rows: one that comes from nowhere; zero, or what the page has written, with slots as at the start. */
export const NONE = 0xffffffff;
/** Added to a row of a list: its parameters and gradients are taken, and its slots are as at the start. */
export const FRESH = 0x80000000;

/** What a tensor takes over: for each of its rows the old one, of `from` if that has another name. */
export interface Rows {
  from?: string;
  /** Rows along the first dimension, `NONE`, or a row + `FRESH`; or as many u32 in a buffer with STORAGE, which nobody checks. */
  rows: ArrayLike<number> | Place;
}

/** By the names of new tensors; `null` for one that starts anew. */
export type Changes = Record<string, Rows | null>;

interface Pass {
  wgsl: string;
  list: { offset: number; size: number } | { number: number };
  rows: number;
  from: Slice;
  to: Slice;
  workgroups: [number, number];
}

interface Moves {
  copies: [Slice, Slice][];
  passes: Pass[];
  entryPoint: string;
}

/** Gives the core the changes; the lists on the device, in order. */
export function declare(changes: Changes, into: wasm.Changes): Place[] {
  const lists: Place[] = [];
  for (const [tensor, change] of Object.entries(changes)) {
    const from = change?.from ?? tensor;
    if (change === null) into.anew(tensor);
    else if ("buffer" in change.rows) into.rows_on_device(tensor, from, lists.push(change.rows) - 1);
    else into.rows(tensor, from, Uint32Array.from(change.rows));
  }
  return lists;
}

/** Records what moves words from the old buffers to the new ones. Throws before anything is recorded. */
export function record(
  device: GPUDevice,
  encoder: GPUCommandEncoder,
  label: string,
  taken: wasm.TakeOver,
  [old, made]: [GPUBuffer[], GPUBuffer[]],
  lists: Place[],
): void {
  const moves = JSON.parse(taken.plan()) as Moves;
  // What stays in its place in a buffer of the page's needs no copy.
  const copies = moves.copies.filter(([from, to]) => old[from.buffer] !== made[to.buffer] || from.offset !== to.offset);
  const kinds = [
    ["STORAGE", "STORAGE", moves.passes.map(({ from, to }) => [from, to])],
    ["COPY_SRC", "COPY_DST", copies],
  ] as const;
  for (const [read, written, pairs] of kinds) {
    for (const [from, to] of pairs) {
      const [source, target] = [old[from!.buffer]!, made[to!.buffer]!];
      if (source === target) throw new OptimizerError("rows cannot be moved inside a buffer: the new ones need another");
      for (const [buffer, usage] of [[source, read], [target, written]] as const) {
        if ((buffer.usage & GPUBufferUsage[usage]) === 0) {
          throw new OptimizerError(`a buffer to move, '${buffer.label}', lacks the usage ${usage}`);
        }
      }
    }
  }
  for (const { list, rows } of moves.passes) if ("number" in list) checkList(device, lists[list.number]!, 4 * rows);

  const own = filled(device, label, taken.lists());
  const layout = device.createBindGroupLayout({
    label,
    entries: ["read-only-storage", "read-only-storage", "read-only-storage", "storage"].map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: type as GPUBufferBindingType },
    })),
  });
  const pipelines = new Map<string, GPUComputePipeline>();
  const pipelineOf = (code: string) => {
    const known = pipelines.get(code);
    if (known) return known;
    const module = device.createShaderModule({ label, code });
    const pipelineLayout = device.createPipelineLayout({ label, bindGroupLayouts: [layout] });
    const made = device.createComputePipeline({ label, layout: pipelineLayout, compute: { module, entryPoint: moves.entryPoint } });
    pipelines.set(code, made);
    return made;
  };
  const dispatches = moves.passes.map(({ wgsl, list, rows, from, to, workgroups }, index) => {
    const bound = "number" in list ? { ...lists[list.number]!, size: 4 * rows } : { buffer: own, ...list };
    const bindings: GPUBufferBinding[] = [
      { buffer: filled(device, label, taken.chunks(index)) },
      bound,
      { ...from, buffer: old[from.buffer]! },
      { ...to, buffer: made[to.buffer]! },
    ];
    const entries = bindings.map((resource, binding) => ({ binding, resource }));
    return { pipeline: pipelineOf(wgsl), group: device.createBindGroup({ label, layout, entries }), workgroups };
  });

  for (const [from, to] of copies) {
    encoder.copyBufferToBuffer(old[from.buffer]!, from.offset, made[to.buffer]!, to.offset, from.size);
  }
  if (dispatches.length === 0) return;
  const pass = encoder.beginComputePass({ label });
  for (const { pipeline, group, workgroups } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(workgroups[0], workgroups[1]);
  }
  pass.end();
}

function filled(device: GPUDevice, label: string, words: Uint32Array): GPUBuffer {
  const size = Math.max(4, words.byteLength);
  const buffer = device.createBuffer({ label, size, usage: GPUBufferUsage.STORAGE, mappedAtCreation: true });
  new Uint32Array(buffer.getMappedRange()).set(words);
  buffer.unmap();
  return buffer;
}

function checkList(device: GPUDevice, { buffer, offset = 0 }: Place, size: number): void {
  const alignment = device.limits.minStorageBufferOffsetAlignment;
  if ((buffer.usage & GPUBufferUsage.STORAGE) === 0) throw new OptimizerError("a list of rows lacks the usage STORAGE");
  if (offset + size > buffer.size) {
    throw new OptimizerError(`a list of rows has ${buffer.size} bytes, but ${size} are needed from byte ${offset} on`);
  }
  if (offset % alignment !== 0) {
    throw new OptimizerError(`a list of rows starts at byte ${offset}, which is not a multiple of ${alignment}`);
  }
}
