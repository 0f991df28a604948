// Reads ranges of buffers.

import { OptimizerError } from "./core.js";
import type { Range } from "./types.js";

/** Submits copies of ranges, one behind the other, and waits for them. `gone` says why, where the device no longer answers. */
export async function readBytes(
  device: GPUDevice,
  label: string,
  ranges: readonly Range[],
  gone: () => string | undefined,
): Promise<ArrayBuffer> {
  const size = ranges.reduce((sum, range) => sum + range.size, 0);
  if (size === 0) return new ArrayBuffer(0);
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  const staging = device.createBuffer({ label, size, usage });
  device.pushErrorScope("validation");
  const encoder = device.createCommandEncoder();
  let at = 0;
  for (const { buffer, offset, size } of ranges) {
    if (size > 0) encoder.copyBufferToBuffer(buffer, offset, staging, at, size);
    at += size;
  }
  device.queue.submit([encoder.finish()]);
  const refused = await device.popErrorScope();
  if (refused) throw new OptimizerError(`not read: ${refused.message}`);
  await staging.mapAsync(GPUMapMode.READ).catch((error: unknown) => {
    throw new OptimizerError(gone() ?? `not read: ${String(error)}`);
  });
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  return bytes;
}
