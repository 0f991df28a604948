// Makes an optimizer of a description.

import { asked, limitsOf, load, OptimizerError, wasm } from "./core.js";
import { Optimizer } from "./optimizer.js";
import type { Description } from "./types.js";

/**
 * An optimizer for tensors on `device`. All state is allocated and every pipeline built here.
 *
 * Throws an `OptimizerError` that names the tensor or group, the option, the value and the limit.
 */
export async function createOptimizer(device: GPUDevice, description: Description): Promise<Optimizer> {
  const module = await load();
  const own: GPUBuffer[] = [];
  const place = (tensor: string, role: string, { buffer, offset = 0 }: { buffer: GPUBuffer; offset?: number }) => {
    if ((buffer.usage & GPUBufferUsage.STORAGE) === 0) {
      throw new OptimizerError(`tensor '${tensor}': its ${role} buffer lacks the usage STORAGE`);
    }
    if (!own.includes(buffer)) own.push(buffer);
    return { buffer: own.indexOf(buffer), offset };
  };
  const tensors = description.tensors.map(({ param, grad, ...rest }) => ({
    ...rest,
    ...(param && { param: place(rest.name, "parameter", param) }),
    ...(grad && { grad: place(rest.name, "gradient", grad) }),
  }));
  const buffers = own.map((buffer) => buffer.size);
  const json = JSON.stringify({ ...description, tensors, buffers });
  const core = asked(() => new wasm.Core(json, limitsOf(device)));
  try {
    return await Optimizer.of(device, module, core, own);
  } catch (error) {
    core.free();
    throw error;
  }
}
