// The executor on the page's own device: what was recorded goes up, the same few dispatches every step.

import { CountReader } from "./count.js";
import { asked, OptimizerError, wasm } from "./core.js";
import type { InitOutput } from "./core.js";
import { liveGroup } from "./group.js";
import type { Group } from "./group.js";
import { declare, record } from "./moves.js";
import type { Changes } from "./moves.js";
import { makeObjects } from "./objects.js";
import type { Objects } from "./objects.js";
import { readBytes } from "./read.js";
import type { Plan, Range, RuleOptions, Slice, Wrappers } from "./types.js";

/**
 * An optimizer over tensors of the page's device.
 *
 * ```ts
 * const opt = await createOptimizer(device, {
 *   optimizer: "adamw", lr: 1e-3,
 *   tensors: [{ name: "w", shape: [784, 10] }],
 * });
 * opt.write("w", initial);
 * // Bind opt.param("w") and opt.grad("w") in the kernels of the model; then, every step:
 * opt.step(encoder);
 * ```
 *
 * Nothing is submitted by `step` and `encode`, and nothing waits.
 */
export class Optimizer {
  readonly device: GPUDevice;
  #memory: WebAssembly.Memory;
  #core: wasm.Core;
  #plan: Plan;
  #objects: Objects;
  #counts: CountReader | undefined;
  #groups: Map<string, Group>;
  #tensors: Map<string, Plan["tensors"][number]>;
  #gone: string | undefined;

  /** Use `createOptimizer`. */
  private constructor(device: GPUDevice, memory: WebAssembly.Memory, core: wasm.Core, plan: Plan, objects: Objects) {
    this.device = device;
    this.#memory = memory;
    this.#core = core;
    this.#plan = plan;
    this.#objects = objects;
    this.#groups = new Map(
      plan.groups.map((name, index) => {
        const read = () => {
          this.#alive();
          return JSON.parse(core.group(index)!) as RuleOptions;
        };
        const change = (options: RuleOptions) => {
          this.#alive();
          asked(() => core.change_group(index, JSON.stringify(options)));
        };
        return [name, liveGroup(name, read, change)];
      }),
    );
    this.#tensors = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]));
    const tell = (recorded: number, counts: Uint32Array) => this.#gone ?? core.observe(recorded, counts);
    if (plan.counts.length > 0) this.#counts = new CountReader(device, plan.label, this.ranges(plan.counts), tell);
    void device.lost.then(({ message }) => {
      this.#gone ??= `the device is lost (${message}); make an optimizer on a new device, from what was read back before`;
    });
  }

  /** Makes one of a core; `own` are the page's buffers that it names. */
  static async of(device: GPUDevice, module: InitOutput, core: wasm.Core, own: GPUBuffer[]): Promise<Optimizer> {
    const plan = JSON.parse(core.plan()) as Plan;
    const objects = await makeObjects(device, plan, core, own);
    return new Optimizer(device, module.memory, core, plan, objects);
  }

  /** Where a tensor's parameters are: to be bound as a storage buffer of f32. */
  param(tensor: string): Range {
    const { param, len } = this.#tensor(tensor);
    return this.#range({ ...param, size: 4 * len });
  }

  /** Where a tensor's gradients are: where the backward pass writes. */
  grad(tensor: string): Range {
    const { grad, len } = this.#tensor(tensor);
    return this.#range({ ...grad, size: 4 * len });
  }

  /** A parameter group, whose options can be changed: `opt.group("decay").lr = 1e-4`. */
  group(name = this.#plan.groups[0]!): Group {
    const group = this.#groups.get(name);
    if (!group) throw new OptimizerError(`no group '${name}'; there are ${this.#plan.groups.join(", ")}`);
    return group;
  }

  /** The numbers of what stands around the rule, as they are. */
  get wrappers(): Wrappers {
    this.#alive();
    return JSON.parse(this.#core.wrappers()) as Wrappers;
  }

  /** Changes numbers of what stands around the rule; nothing can be switched on or off. */
  set wrappers(changes: Wrappers) {
    this.#alive();
    asked(() => this.#core.change_wrappers(JSON.stringify(changes)));
  }

  /** Names of the slots that the optimizer keeps: `m`, `v`, … */
  get slots(): string[] {
    return Object.keys(this.#plan.tensors[0]?.slots ?? {});
  }

  /** Where a slot of a tensor is: one range, or several, one behind the other. */
  slot(tensor: string, slot: string): Range[] {
    const slices = this.#tensor(tensor).slots[slot];
    if (!slices) throw new OptimizerError(`optimizer '${this.#plan.optimizer}' keeps no slot '${slot}'; it keeps ${this.slots.join(", ")}`);
    return slices.map((slice) => this.#range(slice));
  }

  /** The tensors, in order. */
  get tensors(): { name: string; shape: number[]; group: string }[] {
    return this.#plan.tensors.map(({ name, shape, group }) => ({ name, shape, group: this.#plan.groups[group]! }));
  }

  /** Dispatches of a step: 1 for most rules. */
  get dispatchesPerStep(): number {
    return this.#plan.passes.length;
  }

  /** Bytes on the device: of the slots, and beyond parameters, gradients and slots. */
  get bytes(): { state: number; overhead: number; perParameterAndStep: number } {
    const { stateBytes, overheadBytes, bytesPerParameter } = this.#plan;
    return { state: stateBytes, overhead: overheadBytes, perParameterAndStep: bytesPerParameter };
  }

  /** Steps recorded. */
  get steps(): number {
    this.#alive();
    return this.#core.recorded();
  }

  /** How many steps may be recorded ahead of a submit. */
  get stepsAhead(): number {
    this.#alive();
    return this.#core.steps_ahead();
  }

  /** The program's hash: equal on every host for equal tensors, options and limits. */
  get hash(): string {
    this.#alive();
    return this.#core.hash();
  }

  /** Records a step, in a compute pass of its own. */
  step(encoder: GPUCommandEncoder): void {
    const record = this.#prepare(encoder);
    if (this.#objects.dispatches.length === 0) return;
    const pass = encoder.beginComputePass({ label: this.#plan.label });
    this.#dispatch(pass, record);
    pass.end();
  }

  /**
   * Records a step into a compute pass of the page's. Leaves its pipeline and bind group 0 changed.
   *
   * With steps that may be skipped, or encoders that are dropped, call `askCount` now and then.
   */
  encode(pass: GPUComputePassEncoder): void {
    this.#dispatch(pass, this.#prepare());
  }

  /**
   * Leaves a tensor out of the next step, as one without a gradient: it is not decayed, nor moved by its momentum, and the step is
   * none of its own. For optimizers that were made with `own_steps: true`.
   */
  skip(tensor: string): void {
    const index = this.#index(tensor);
    asked(() => this.#core.skip(index));
  }

  /**
   * Where the mask of a tensor's rows is, for kernels that write it: of row i bit i % 32 of word i / 32. Steps that run
   * afterwards leave out rows whose bit is 0; before the first step all are 1. For optimizers that were made with `row_masks`.
   */
  rowMask(tensor: string): Range {
    const index = this.#index(tensor);
    const mask = this.#plan.rowMasks?.[index];
    if (!mask) throw new OptimizerError("`rowMask` needs the option `row_masks`, given when the optimizer is made");
    return this.#range(mask);
  }

  /** Writes the mask of a tensor's rows; see `rowMask`. */
  writeRowMask(tensor: string, words: ArrayLike<number>): void {
    const { buffer, offset, size } = this.rowMask(tensor);
    if (words.length * 4 !== size) {
      throw new OptimizerError(`tensor '${tensor}' has a mask of ${size / 4} words, but ${words.length} were given`);
    }
    this.device.queue.writeBuffer(buffer, offset, Uint32Array.from(words));
  }

  /**
   * Starts again as before the first step, with parameters, options and rates as they are: all tensors, or one, for optimizers
   * that were made with `own_steps: true`. Submit every step that was recorded before.
   */
  reset(tensor?: string): void {
    this.#alive();
    const index = tensor === undefined ? undefined : this.#index(tensor);
    asked(() => this.#core.reset(index));
    this.#upload();
    this.#counts?.forget();
  }

  /** Lets the page's next encoder carry the device's count of steps home, if it is time. `step` does it by itself. */
  askCount(encoder: GPUCommandEncoder): void {
    this.#alive();
    this.#counts?.look();
    if (this.#core.wants_count()) this.#counts?.ask(encoder, this.#core.recorded());
  }

  /** Writes a tensor's parameters. */
  write(tensor: string, values: ArrayLike<number>): void {
    this.#write(tensor, "parameters", this.param(tensor), values);
  }

  /** Writes a tensor's gradients. */
  writeGrad(tensor: string, values: ArrayLike<number>): void {
    this.#write(tensor, "gradients", this.grad(tensor), values);
  }

  /** Reads a tensor's parameters as they are after all that was submitted. Submits a copy, and waits for it. */
  read(tensor: string): Promise<Float32Array> {
    return this.readRanges([this.param(tensor)]);
  }

  /** Reads a tensor's gradients; see `read`. */
  readGrad(tensor: string): Promise<Float32Array> {
    return this.readRanges([this.grad(tensor)]);
  }

  /** Reads a slot of a tensor; see `read`. */
  readSlot(tensor: string, slot: string): Promise<Float32Array> {
    return this.readRanges(this.slot(tensor, slot));
  }

  /** The norm of all gradients in the last step, and how many of them were not finite; with clipping by norm or skipping. */
  async gradNorm(): Promise<{ norm: number; notFinite: number }> {
    const [norm = NaN, notFinite = NaN] = await this.#reading("grad_norm");
    return { norm, notFinite };
  }

  /** What skipping depends on: the loss scale of the next step, whether the last was taken, how many were skipped. */
  async skips(): Promise<{ lossScale: number; taken: boolean; skipped: number }> {
    const [lossScale = NaN, , taken, skipped = NaN] = await this.#reading("skips");
    return { lossScale, taken: taken === 1, skipped };
  }

  /** What the rule keeps for all groups, such as Prodigy's d. */
  async deviceScalars(): Promise<number[]> {
    return [...(await this.#reading("device_scalars"))];
  }

  /** The buffer with the loss scale, for kernels: `array<vec4<f32>>`, at `[1].x`; nothing without loss scaling. */
  get lossScale(): GPUBuffer | undefined {
    const slice = this.#plan.readings.find(({ name }) => name === "loss_scale")?.slices[0];
    return slice && this.#range(slice).buffer;
  }

  /** Reads ranges of f32, one behind the other; see `read`. */
  async readRanges(ranges: readonly Range[]): Promise<Float32Array> {
    this.#alive();
    const label = `${this.#plan.label}: read`;
    return new Float32Array(await readBytes(this.device, label, ranges, () => this.#gone));
  }

  /**
   * Everything that the run goes on with, the parameters too, as the bytes of a safetensors file: `load` takes it, here, on another
   * device, or in Rust. Submits a copy, and waits for it; submit every step that was recorded before.
   */
  async state(): Promise<Uint8Array> {
    this.#alive();
    // Steps that are recorded while the copy is under way are not in it.
    const snapshot = this.#core.snapshot();
    try {
      const slices = snapshot.slices();
      const ranges: Range[] = [];
      for (let i = 0; i < slices.length; i += 3) {
        ranges.push(this.#range({ buffer: slices[i]!, offset: slices[i + 1]!, size: slices[i + 2]! }));
      }
      const words = await this.readRanges(ranges);
      return asked(() => snapshot.state(new Uint32Array(words.buffer)));
    } finally {
      snapshot.free();
    }
  }

  /**
   * Goes on from what `state` gave: parameters, slots, counts, and the numbers of groups and wrappers. With `strict: false` what
   * does not fit stays as it is, and the result lists it; else the error does, and nothing was changed.
   */
  load(state: Uint8Array, { strict = true }: { strict?: boolean } = {}): string[] {
    this.#alive();
    const left = JSON.parse(asked(() => this.#core.load(state, strict))) as string[];
    this.#upload();
    this.#counts?.forget();
    return left;
  }

  /**
   * Goes on where `old` is at this point of the encoder, with another set of tensors: those of the same name and shape are taken
   * over, and those that `changes` name; the others start as in a new optimizer. Parameters, gradients and all slots are moved on
   * the device; masks of rows start with every row acting. `old` stays as it is: destroy it once the encoder is submitted.
   *
   * ```ts
   * const opt = await createOptimizer(device, { optimizer: "adam", tensors: [{ name: "splats", shape: [kept.length, 59] }] });
   * opt.takeOver(encoder, old, { splats: { rows: kept } });
   * ```
   *
   * Throws an `OptimizerError` that names every difference; nothing was recorded or changed then.
   */
  takeOver(encoder: GPUCommandEncoder, old: Optimizer, changes: Changes = {}): void {
    this.#alive();
    old.#alive();
    if (old.device !== this.device) throw new OptimizerError("the optimizer to take over is of another device");
    const declared = new wasm.Changes();
    let taken: wasm.TakeOver | undefined;
    try {
      const lists = declare(changes, declared);
      const found = asked(() => this.#core.moves_from(old.#core, declared));
      taken = found;
      const label = `${this.#plan.label}: take over`;
      record(this.device, encoder, label, found, [old.#objects.buffers, this.#objects.buffers], lists);
      this.#core.go_on(found);
    } finally {
      taken?.free();
      declared.free();
    }
    this.#counts?.forget();
  }

  /** The ranges of slices of the plan: for tests and tools. */
  ranges(slices: readonly Slice[]): Range[] {
    return slices.map((slice) => this.#range(slice));
  }

  /** Frees what was made here; the page's own buffers stay. */
  destroy(): void {
    if (this.#gone === DESTROYED) return;
    this.#gone = DESTROYED;
    for (const buffer of this.#objects.made) buffer.destroy();
    this.#counts?.destroy();
    this.#core.free();
  }

  #alive(): void {
    if (this.#gone) throw new OptimizerError(this.#gone);
  }

  #tensor(name: string): Plan["tensors"][number] {
    this.#alive();
    const tensor = this.#tensors.get(name);
    if (tensor) return tensor;
    const known = [...this.#tensors.keys()];
    const some = known.slice(0, 8).join(", ") + (known.length > 8 ? `, … (${known.length})` : "");
    throw new OptimizerError(`no tensor '${name}'; there are ${some}`);
  }

  #index(name: string): number {
    return this.#plan.tensors.indexOf(this.#tensor(name));
  }

  #range({ buffer, offset, size }: Slice): Range {
    return { buffer: this.#objects.buffers[buffer]!, offset, size };
  }

  /** Writes what the next step needs; its record. */
  #prepare(encoder?: GPUCommandEncoder): number {
    this.#alive();
    if (encoder) this.askCount(encoder);
    const record = asked(() => this.#core.next_step());
    this.#upload();
    return record;
  }

  /** Writes what the core has to be written. */
  #upload(): void {
    const core = this.#core;
    const start = core.bytes();
    for (let i = 0; i < core.writes(); i++) {
      const [buffer, offset, first, length] = core.write(i) as unknown as [number, number, number, number];
      // The memory's buffer is another one each time that it grew.
      const bytes = this.#memory.buffer;
      this.device.queue.writeBuffer(this.#objects.buffers[buffer]!, offset, bytes, start + first, length);
    }
  }

  #dispatch(pass: GPUComputePassEncoder, record: number): void {
    pass.pushDebugGroup(this.#plan.label);
    for (const { pipeline, bindGroup, workgroups } of this.#objects.dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup, [record]);
      pass.dispatchWorkgroups(workgroups[0], workgroups[1]);
    }
    pass.popDebugGroup();
  }

  #write(tensor: string, what: string, range: Range, values: ArrayLike<number>): void {
    const expected = range.size / 4;
    if (values.length !== expected) {
      throw new OptimizerError(`tensor '${tensor}' has ${expected} ${what}, but ${values.length} were given`);
    }
    if ((range.buffer.usage & GPUBufferUsage.COPY_DST) === 0) {
      throw new OptimizerError(`tensor '${tensor}': the buffer of its ${what} lacks the usage COPY_DST`);
    }
    const words = values instanceof Float32Array ? values : Float32Array.from(values);
    this.device.queue.writeBuffer(range.buffer, range.offset, words.buffer, words.byteOffset, words.byteLength);
  }

  async #reading(name: string): Promise<Float32Array> {
    this.#alive();
    const reading = this.#plan.readings.find((reading) => reading.name === name);
    if (!reading) throw new OptimizerError(`optimizer '${this.#plan.optimizer}' was made so that it has no '${name}'`);
    return this.readRanges(this.ranges(reading.slices));
  }
}

const DESTROYED = "the optimizer was destroyed";
