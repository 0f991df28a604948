/** Deep-learning optimizers on the page's own `GPUDevice`: every parameter group in one dispatch a step. */

import { asked, load, wasm } from "./core.js";
import type { RuleOptions } from "./types.js";

export { isSoftware, load, OptimizerError } from "./core.js";
export { createOptimizer } from "./create.js";
export { Optimizer } from "./optimizer.js";
export type { Group } from "./group.js";
export { FRESH, NONE } from "./moves.js";
export type { Changes, Rows } from "./moves.js";
export type { Description, GroupDescription, Place, Range, RuleOptions, TensorDescription, Wrappers } from "./types.js";

/** The library's version. */
export async function version(): Promise<string> {
  await load();
  return wasm.version();
}

/** Every name that `optimizer` may have. */
export async function names(): Promise<string[]> {
  await load();
  return wasm.names();
}

/** All options of an optimizer: those given, and the defaults of the others. */
export async function defaults(options: { optimizer: string } & RuleOptions): Promise<RuleOptions> {
  await load();
  return JSON.parse(asked(() => wasm.defaults(JSON.stringify(options)))) as RuleOptions;
}

/**
 * A schedule: a number for each step, 1 for the first, such as
 * `{ curve: "warmup", steps: 100, schedule: { curve: "cosine", peak: 8e-3, end: 2e-6, total: 1000 } }`.
 * The Rust type `Curve` has all of them.
 */
export async function schedule(curve: { curve: string; [option: string]: unknown }): Promise<(step: number) => number> {
  await load();
  const made = asked(() => new wasm.Curve(JSON.stringify(curve)));
  return (step) => made.at(step);
}
