// Loads the core, once.

import init, * as wasm from "./core/core.js";
import type { InitOutput } from "./core/core.js";

let loading: Promise<InitOutput> | undefined;

/**
 * Loads the WebAssembly, once; `createOptimizer` does it too. `source` says from where, if not from beside this file: a
 * URL, a response or the bytes.
 */
export function load(source?: string | URL | Request | Response | BufferSource | WebAssembly.Module): Promise<InitOutput> {
  loading ??= init(source === undefined ? undefined : { module_or_path: source }).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

/** What was refused, and why. */
export class OptimizerError extends Error {
  override name = "OptimizerError";
}

/** Calls the core; what it throws is an `OptimizerError`. */
export function asked<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw error instanceof OptimizerError ? error : new OptimizerError(error instanceof Error ? error.message : String(error));
  }
}

/** The limits of a device in the core's words, as JSON. A CPU that plays a GPU wants other shapes of work. */
export function limitsOf(device: GPUDevice): string {
  const { limits } = device;
  return JSON.stringify({
    max_buffer_size: limits.maxBufferSize,
    max_storage_buffer_binding_size: limits.maxStorageBufferBindingSize,
    min_storage_buffer_offset_alignment: limits.minStorageBufferOffsetAlignment,
    max_storage_buffers_per_shader_stage: limits.maxStorageBuffersPerShaderStage,
    max_compute_workgroups_per_dimension: limits.maxComputeWorkgroupsPerDimension,
    max_compute_invocations_per_workgroup: limits.maxComputeInvocationsPerWorkgroup,
    max_compute_workgroup_size_x: limits.maxComputeWorkgroupSizeX,
    software: isSoftware(device.adapterInfo),
  });
}

/** Whether an adapter is a CPU that plays a GPU: its times say nothing about one. */
export function isSoftware(info: GPUAdapterInfo | undefined): boolean {
  const words = `${info?.vendor} ${info?.architecture} ${info?.device} ${info?.description}`;
  return info?.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|basic render/i.test(words);
}

export { wasm };
export type { InitOutput };
