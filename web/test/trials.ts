// What runs in a page: the registry's cases over this executor, and what the executor must do and refuse.

import { check, probe, wasm } from "../pages/validate.js";
import { createOptimizer, defaults, FRESH, load, names, NONE, OptimizerError, schedule } from "../ts/index.js";
import type { Description } from "../ts/index.js";
import { norms } from "./replay.js";

export { replay } from "./replay.js";

/** A device whose refusals that nobody caught are kept. */
export async function open(): Promise<{ device: GPUDevice; uncaptured: string[] }> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("no adapter");
  const device = await adapter.requestDevice();
  const uncaptured: string[] = [];
  device.addEventListener("uncapturederror", (event) => uncaptured.push((event as GPUUncapturedErrorEvent).error.message));
  return { device, uncaptured };
}

/** Runs the cases from `first` on that `stride` apart; what was wrong. */
export async function registry(first: number, stride: number): Promise<{ ran: number; words: number; wrong: string[] }> {
  await load();
  const { device, uncaptured } = await open();
  const cases = new wasm.Cases(false);
  const wrong: string[] = [];
  let [ran, words] = [0, 0];
  for (let index = first; index < cases.count(); index += stride) {
    const verdict = await check(device, cases, index);
    ran += 1;
    words += verdict.words;
    if (verdict.violation) wrong.push(`${JSON.stringify(verdict.rule)} ${verdict.wrappers} ${verdict.poison}: ${JSON.stringify(verdict.violation)}`);
  }
  device.destroy();
  return { ran, words, wrong: [...wrong, ...uncaptured] };
}

/** The first wrong word of a step that is 2 % too long. */
export async function wrongIsFound(): Promise<string> {
  await load();
  const { device } = await open();
  const cases = new wasm.Cases(true);
  const adam = Array.from({ length: cases.count() }, (_, i) => i).find((i) => cases.rule(i) === "adam");
  const { violation } = await check(device, cases, adam!, true);
  return `${violation?.step} ${violation?.slot}`;
}

const tensors = [
  { name: "w", shape: [3, 5], group: "decay" },
  { name: "b", shape: [5], group: "plain" },
];
const groups = [{ name: "decay" }, { name: "plain", weight_decay: 0 }];

function equal(got: ArrayLike<number>, want: number[], what: string, within = 1e-6): void {
  const near = got.length === want.length && want.every((x, i) => Math.abs(got[i]! - x) <= within * Math.max(1, Math.abs(x)));
  if (!near) throw new Error(`${what}: got ${Array.from(got).slice(0, 8)}, want ${want.slice(0, 8)}`);
}

async function refuses(what: string, words: string, call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (error instanceof OptimizerError && error.message.includes(words)) return;
    throw new Error(`${what}: '${error}' does not say '${words}'`);
  }
  throw new Error(`${what} was not refused`);
}

type Trial = (device: GPUDevice) => Promise<void>;

function step(device: GPUDevice, optimizer: { step(encoder: GPUCommandEncoder): void }): void {
  const encoder = device.createCommandEncoder();
  optimizer.step(encoder);
  device.queue.submit([encoder.finish()]);
}

/** Steps of a gradient that is not finite, far more than the rings hold, then one of a gradient that is. */
async function skipped(device: GPUDevice, sameEncoder: boolean): Promise<void> {
  const optimizer = await createOptimizer(device, {
    optimizer: "adam",
    lr: 0.1,
    non_finite: "skip",
    tensors: [{ name: "w", shape: [1] }],
    groups: Array.from({ length: 465 }, (_, i) => ({ name: `${i}` })),
  });
  const oneStep = async () => {
    let encoder = device.createCommandEncoder();
    for (let tries = 0; ; tries++) {
      try {
        optimizer.step(encoder);
        break;
      } catch (error) {
        if (tries === 1000) throw error;
        // The device's count is not known yet, and this encoder asks for it.
        if (!sameEncoder) {
          device.queue.submit([encoder.finish()]);
          encoder = device.createCommandEncoder();
        }
        await new Promise((resolve) => setTimeout(resolve));
      }
    }
    device.queue.submit([encoder.finish()]);
  };
  optimizer.writeGrad("w", [NaN]);
  for (let i = 0; i < 3000; i++) await oneStep();
  optimizer.writeGrad("w", [1]);
  await oneStep();
  equal(await optimizer.read("w"), [-0.1], "the first step");
  optimizer.destroy();
}

export const trials: Record<string, Trial> = {
  async "groups with options of their own, live rates"(device) {
    const optimizer = await createOptimizer(device, { optimizer: "sgd", lr: 0.5, weight_decay: 0.1, tensors, groups });
    optimizer.write("w", Array(15).fill(1));
    optimizer.write("b", Array(5).fill(1));
    optimizer.writeGrad("w", Array(15).fill(2));
    optimizer.writeGrad("b", Array(5).fill(2));
    step(device, optimizer);
    equal(await optimizer.read("b"), Array(5).fill(0), "without decay");
    equal(await optimizer.read("w"), Array(15).fill(-0.05), "with decay");
    optimizer.group("plain").lr = 0.25;
    if (optimizer.group("plain").lr !== 0.25 || optimizer.group("decay").lr !== 0.5) throw new Error("rates");
    step(device, optimizer);
    equal(await optimizer.read("b"), Array(5).fill(-0.5), "with another rate");
    if (optimizer.steps !== 2 || optimizer.dispatchesPerStep !== 1) throw new Error("steps");
    optimizer.destroy();
  },

  async "slots, several steps in an encoder, the page's own pass"(device) {
    const description: Description = { optimizer: "adam", lr: 0.1, tensors: [{ name: "w", shape: [4] }] };
    const optimizer = await createOptimizer(device, description);
    optimizer.writeGrad("w", [1, 1, 1, 1]);
    const encoder = device.createCommandEncoder();
    optimizer.step(encoder);
    const pass = encoder.beginComputePass();
    optimizer.encode(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
    equal(await optimizer.read("w"), Array(4).fill(-0.2), "two steps");
    equal(await optimizer.readSlot("w", "m"), Array(4).fill(0.19), "m");
    if (optimizer.slots.join() !== "m,v") throw new Error(optimizer.slots.join());
    await refuses("a slot", "keeps no slot 'x'; it keeps m, v", () => optimizer.slot("w", "x"));
    optimizer.destroy();
  },

  async "a run goes on from its state, on another device too"(device) {
    const other = (await open()).device;
    const wrappers = { lookahead: { k: 3, alpha: 0.5 }, ema: 0.9, non_finite: "skip", max_grad_norm: 2 } as const;
    for (const optimizer of ["adamw", "nadam", "laprop", "adashift", "lamb", "adafactor", "prodigy"]) {
      const description: Description = { optimizer, ...wrappers, tensors, groups: [{ name: "decay" }, { name: "plain" }] };
      const make = (device: GPUDevice) => createOptimizer(device, description);
      const [first, second, elsewhere] = [await make(device), await make(device), await make(other)];
      first.write("w", Array.from({ length: 15 }, (_, i) => i / 7 - 1));
      const go = (run: Awaited<ReturnType<typeof make>>, from: number, to: number) => {
        for (let i = from; i < to; i++) {
          run.writeGrad("w", Array.from({ length: 15 }, (_, k) => (i === 3 ? NaN : Math.sin(i * k))));
          run.writeGrad("b", Array.from({ length: 5 }, (_, k) => Math.cos(i + k)));
          run.group("decay").lr = 0.01 / (1 + i);
          step(run.device, run);
        }
      };
      go(first, 0, 5);
      const state = await first.state();
      go(first, 5, 9);
      const words = async (run: typeof first) => [...(await run.read("w")), ...(await run.read("b")), ...(await run.readSlot("w", "ema"))];
      const expected = await words(first);
      for (const run of [second, elsewhere]) {
        if (run.load(state).length !== 0 || run.steps !== 5) throw new Error(`${optimizer}: not all was taken`);
        go(run, 5, 9);
        if ((await words(run)).some((word, i) => !Object.is(word, expected[i]))) throw new Error(`${optimizer}: other bits`);
      }
      await refuses("a cut file", "the state is refused", () => second.load(state.slice(0, 100)));
      const sgd = await createOptimizer(device, { optimizer: "sgd", tensors, groups });
      await refuses("another rule", `one of '${optimizer === "adamw" ? "adam" : optimizer}', not of this 'sgd'`, () => sgd.load(state));
      for (const run of [first, second, elsewhere, sgd]) run.destroy();
    }
    other.destroy();
  },

  async "tensors and rows rest, and start anew"(device) {
    const shapes = ["a", "none", "b"].map((name) => ({ name, shape: name === "none" ? [0] : [2] }));
    const own = await createOptimizer(device, { optimizer: "adam", lr: 0.1, own_steps: true, non_finite: "skip", steps_ahead: 4, tensors: shapes });
    const both = async (a: number[], b: number[], what: string, within = 1e-6) => {
      equal(await own.read("a"), a, `a, ${what}`, within);
      equal(await own.read("b"), b, `b, ${what}`, within);
    };
    for (const name of ["a", "b"]) own.writeGrad(name, [1, -2]);
    step(device, own);
    own.skip("b");
    step(device, own);
    await both([-0.2, 0.2], [-0.1, 0.1], "which rested once");
    own.reset("b");
    own.writeGrad("b", [-1, 2]);
    own.skip("a");
    step(device, own);
    await both([-0.2, 0.2], [0, 0], "anew: the first step again, by its whole rate");
    // Counts of all tensors come home, more often than the rings are long.
    for (let i = 0; i < 400; i++) {
      if (i % 2) own.skip("a");
      step(device, own);
      if (i % 4 === 3) await device.queue.onSubmittedWorkDone().then(() => new Promise((resolve) => setTimeout(resolve)));
    }
    await both([-20.2, 20.2], [40, -40], "after many steps", 1e-5);
    own.reset();
    if (own.steps !== 0) throw new Error(`${own.steps} steps`);
    equal(await own.readSlot("a", "m"), [0, 0], "m");
    await refuses("a tensor", "no tensor 'c'", () => own.skip("c"));
    await refuses("a mask", "row_masks", () => own.rowMask("a"));
    own.destroy();

    for (const row_masks of ["tensor_steps", "row_steps"] as const) {
      const rows = await createOptimizer(device, { optimizer: "adam", lr: 0.1, row_masks, tensors: [{ name: "w", shape: [40, 3] }] });
      rows.writeGrad("w", Array(120).fill(1));
      step(device, rows);
      rows.writeRowMask("w", [0xfffffffd, 0xfe]);
      step(device, rows);
      const rests = (i: number) => Math.trunc(i / 3) === 1 || Math.trunc(i / 3) === 32;
      equal(await rows.read("w"), Array.from({ length: 120 }, (_, i) => (rests(i) ? -0.1 : -0.2)), row_masks);
      if (rows.rowMask("w").size !== 8) throw new Error("another size");
      await refuses("another length", "has a mask of 2 words, but 1 were given", () => rows.writeRowMask("w", [1]));
      await refuses("a reset", "own_steps", () => rows.reset("w"));
      rows.destroy();
    }
    const plain = await createOptimizer(device, { optimizer: "adam", tensors: shapes });
    await refuses("a rest", "own_steps", () => plain.skip("a"));
    plain.destroy();
  },

  async "a run is taken over by other tensors"(device) {
    for (const optimizer of await names()) {
      // Its averages over columns hold only for the rows that they are of.
      if (optimizer === "adafactor") continue;
      const made = (tensors: Description["tensors"]) => createOptimizer(device, { optimizer, lr: 0.01, ema: 0.9, tensors });
      const rest = { name: "rest", shape: [2, 3] };
      const old = await made([{ name: "w", shape: [50, 7] }, rest, { name: "gone", shape: [9] }]);
      old.write("w", Array.from({ length: 350 }, (_, i) => Math.sin(i)));
      for (const { name, shape } of old.tensors) {
        old.writeGrad(name, Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.cos(i)));
      }
      for (let i = 0; i < 3; i++) step(device, old);

      const rows = [49, 0, 7 + FRESH, 7, NONE, 12, 48];
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      const list = device.createBuffer({ size: 4 * rows.length, usage });
      device.queue.writeBuffer(list, 0, Uint32Array.from(rows));
      for (const given of [rows, { buffer: list }]) {
        const taken = await made([rest, { name: "v", shape: [7, 7] }, { name: "added", shape: [5] }]);
        const starts = new Map<string, Float32Array>();
        for (const slot of taken.slots) starts.set(slot, await taken.readSlot("v", slot));
        const encoder = device.createCommandEncoder();
        taken.takeOver(encoder, old, { v: { from: "w", rows: given } });
        device.queue.submit([encoder.finish()]);
        if (taken.steps !== 3) throw new Error(`${taken.steps} steps`);
        // A ring has one set of rows behind the other.
        const moved = (words: Float32Array, slot: string) =>
          Array.from({ length: words.length / 350 }, (_, set) => words.subarray(350 * set)).flatMap((set, at) =>
            rows.flatMap((row, to) => {
              const nothing = row === NONE || (slot !== "" && row >= FRESH);
              const first = (i: number) => starts.get(slot)?.[49 * at + 7 * to + i] ?? 0;
              return Array.from({ length: 7 }, (_, i) => (nothing ? first(i) : set[7 * (row % FRESH) + i]!));
            }),
          );
        equal(await taken.read("v"), moved(await old.read("w"), ""), `${optimizer}, parameters`, 0);
        for (const slot of taken.slots) {
          equal(await taken.readSlot("v", slot), moved(await old.readSlot("w", slot), slot), `${optimizer}, ${slot}`, 0);
          equal(await taken.readSlot("rest", slot), [...(await old.readSlot("rest", slot))], `${optimizer}, ${slot} as it was`, 0);
        }
        step(device, taken);
        await refuses("rows that are not there", "is row 50 of 'w', which has 50", () =>
          taken.takeOver(device.createCommandEncoder(), old, { v: { from: "w", rows: Array(7).fill(50) } }),
        );
        const short = { v: { from: "w", rows: { buffer: list, offset: 256 } } };
        await refuses("a short list", "a list of rows has 28 bytes", () => taken.takeOver(device.createCommandEncoder(), old, short));
        const wider = await made([{ name: "rest", shape: [3, 3] }]);
        await refuses("a shape", "'rest' had shape [2, 3] and has [3, 3]", () => wider.takeOver(device.createCommandEncoder(), old));
        wider.destroy();
        taken.destroy();
      }
      const other = await createOptimizer(device, { optimizer: optimizer === "lion" ? "sgd" : "lion", ema: 0.9, tensors: [rest] });
      await refuses("another rule", "it is a run of", () => other.takeOver(device.createCommandEncoder(), old));
      other.destroy();
      old.destroy();
    }
  },

  async "rows that count their own steps are taken over"(device) {
    const made = (rows: number) =>
      createOptimizer(device, { optimizer: "adam", lr: 0.1, row_masks: "row_steps", tensors: [{ name: "w", shape: [rows, 3] }] });
    const [old, next] = [await made(4), await made(2)];
    old.writeGrad("w", Array(12).fill(1));
    for (const mask of [0b1111, 0b0001, 0b0001]) {
      old.writeRowMask("w", [mask]);
      step(device, old);
    }
    const encoder = device.createCommandEncoder();
    next.takeOver(encoder, old, { w: { rows: [3, 0] } });
    device.queue.submit([encoder.finish()]);
    // Another direction: the first moment of a row is worth the more the fewer steps it took.
    next.writeGrad("w", Array(6).fill(-1));
    step(device, next);
    const after = (steps: number) => {
      const [m, v] = [0.9 * (1 - 0.9 ** steps) - 0.1, 1 - 0.999 ** (steps + 1)];
      return -0.1 * steps - (0.1 * m) / (1 - 0.9 ** (steps + 1)) / Math.sqrt(v / (1 - 0.999 ** (steps + 1)));
    };
    equal(await next.read("w"), [1, 1, 1, 3, 3, 3].map(after), "a row of one step and one of three", 1e-5);
    old.destroy();
    next.destroy();
  },

  async "the page's own buffers, at offsets"(device) {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const [param, grad] = [256, 512].map((size) => device.createBuffer({ size, usage })) as [GPUBuffer, GPUBuffer];
    const of = (name: string, at: number) => ({
      name,
      shape: [8],
      param: { buffer: param, offset: at },
      grad: { buffer: grad, offset: 2 * at },
    });
    const optimizer = await createOptimizer(device, { optimizer: "sgd", lr: 1, tensors: [of("a", 0), of("b", 96)] });
    optimizer.writeGrad("b", [1, 2, 3, 4, 5, 6, 7, 8]);
    step(device, optimizer);
    const all = await optimizer.readRanges([{ buffer: param, offset: 0, size: 256 }]);
    equal(all.slice(24, 32), [-1, -2, -3, -4, -5, -6, -7, -8], "b");
    equal([...all.slice(0, 24), ...all.slice(32)], Array(56).fill(0), "the rest");
    if (optimizer.param("b").buffer !== param) throw new Error("another buffer");
    optimizer.destroy();
    // The page's buffers are still there.
    device.queue.writeBuffer(param, 0, new Float32Array(4));
  },

  async "norms, clipping, loss scale and skipped steps"(device) {
    const optimizer = await createOptimizer(device, {
      optimizer: "sgd",
      lr: 1,
      max_grad_norm: 1,
      loss_scale: { initial: 8, interval: 2 },
      tensors: [{ name: "w", shape: [2] }],
    });
    if (!optimizer.lossScale) throw new Error("no loss scale");
    optimizer.writeGrad("w", [24, 32]);
    step(device, optimizer);
    equal(await optimizer.read("w"), [-0.6, -0.8], "clipped");
    equal([(await optimizer.gradNorm()).norm], [5], "norm");
    optimizer.writeGrad("w", [Infinity, 0]);
    step(device, optimizer);
    const skips = await optimizer.skips();
    if (skips.lossScale !== 4 || skips.taken || skips.skipped !== 1) throw new Error(JSON.stringify(skips));
    optimizer.wrappers = { max_grad_norm: 0.5 };
    optimizer.writeGrad("w", [12, 16]);
    step(device, optimizer);
    equal(await optimizer.read("w"), [-0.9, -1.2], "clipped to another norm");
    await refuses("a wrapper that is off", "ema", () => {
      optimizer.wrappers = { ema: 0.5 };
      step(device, optimizer);
    });
    optimizer.destroy();
  },

  async "3000 steps that are skipped, then one that is the first"(device) {
    await skipped(device, false);
  },

  async "3000 steps that are skipped, tried again in the same encoder"(device) {
    await skipped(device, true);
  },

  async "names, defaults and schedules"() {
    const known = await names();
    if (known.length < 33 || !known.includes("adamw")) throw new Error(known.join());
    if ((await defaults({ optimizer: "adamw", lr: 1 })).weight_decay !== 0.01) throw new Error("defaults");
    const rate = await schedule({ curve: "linear_warmup", from: 0, to: 1, warmup: 10 });
    equal([rate(5), rate(20)], [0.5, 1], "a schedule", 0);
  },

  async "what is wrong is named"(device) {
    const made = (rest: object) => () => createOptimizer(device, { optimizer: "adamw", tensors: [{ name: "w", shape: [4] }], ...rest });
    await refuses("a name", "unknown optimizer 'adamx'; known are sgd", made({ optimizer: "adamx" }));
    await refuses("a rate", "lr = -1 is refused", made({ lr: -1 }));
    await refuses("an option", "learning_rate", made({ learning_rate: 1 }));
    await refuses("a group", 'tensor "w" is of group "x"; there are all', made({ tensors: [{ name: "w", shape: [1], group: "x" }] }));
    await refuses("two of a name", "'w'", made({ tensors: [{ name: "w", shape: [1] }, { name: "w", shape: [1] }] }));
    const buffer = (size: number, usage: number) => device.createBuffer({ size, usage });
    const [good, small] = [64, 8].map((size) => buffer(size, GPUBufferUsage.STORAGE)) as [GPUBuffer, GPUBuffer];
    const own = (param: object, grad: object) => made({ tensors: [{ name: "w", shape: [4], param, grad }] });
    const plain = buffer(64, GPUBufferUsage.COPY_DST);
    await refuses("usages", "lacks the usage STORAGE", own({ buffer: plain }, { buffer: good }));
    await refuses("a small buffer", "'w'", own({ buffer: small }, { buffer: good }));
    await refuses("an offset", "'w'", own({ buffer: good, offset: 2 }, { buffer: buffer(64, GPUBufferUsage.STORAGE) }));
    await refuses("half of a place", "give both", made({ tensors: [{ name: "w", shape: [4], param: { buffer: good } }] }));
    const other = await open();
    const foreign = other.device.createBuffer({ size: 64, usage: GPUBufferUsage.STORAGE });
    await refuses("a buffer of another device", "adam", own({ buffer: foreign }, { buffer: good }));
    other.device.destroy();
    const optimizer = await createOptimizer(device, { optimizer: "adamw", tensors: [{ name: "w", shape: [4] }] });
    await refuses("a tensor", "no tensor 'v'; there are w", () => optimizer.param("v"));
    await refuses("another length", "has 4 parameters, but 3 were given", () => optimizer.write("w", [1, 2, 3]));
    await refuses("an unknown group", "no group 'x'; there are all", () => optimizer.group("x"));
    await refuses("an option out of range", "group 'all': beta1 = 2 is refused", () => (optimizer.group().beta1 = 2));
    await refuses("an unknown option", "beta9", () => (optimizer.group().beta9 = 2));
    await refuses("a reading", "has no 'grad_norm'", () => optimizer.gradNorm());
    optimizer.destroy();
    optimizer.destroy();
    await refuses("a step after the end", "destroyed", () => step(device, optimizer));
    await refuses("a place after the end", "destroyed", () => optimizer.param("w"));
  },

  async "a lost device is named"() {
    const { device } = await open();
    const optimizer = await createOptimizer(device, { optimizer: "adamw", tensors: [{ name: "w", shape: [4] }] });
    step(device, optimizer);
    device.destroy();
    await device.lost;
    await refuses("a step", "the device is lost", () => step(device, optimizer));
    await refuses("reading", "the device is lost", () => optimizer.read("w"));
  },

  async "20 000 steps without growth of memory"(device) {
    const optimizer = await createOptimizer(device, { optimizer: "adamw", tensors: [{ name: "w", shape: [64] }] });
    const { memory } = await load();
    const run = async (count: number) => {
      for (let i = 0; i < count; i++) {
        step(device, optimizer);
        if (i % 64 === 0) await device.queue.onSubmittedWorkDone();
      }
    };
    await run(500);
    const before = memory.buffer.byteLength;
    await run(19_500);
    if (memory.buffer.byteLength !== before) throw new Error(`${before} bytes became ${memory.buffer.byteLength}`);
    if (optimizer.steps !== 20_000) throw new Error(`${optimizer.steps} steps`);
    optimizer.destroy();
  },

  "norms of all magnitudes": norms,

  async "probes of the device"(device) {
    const found = await probe(device);
    // `zeroes_variables` is left out: Chromium on SwiftShader makes a variable zero in the first round of a loop only. The
    // library gives each its first value.
    for (const must of ["keeps_writes_inside", "runs_large_dispatches", "passes_nan_on"]) {
      if (found[must] !== true) throw new Error(JSON.stringify(found));
    }
  },
};

/** Runs a trial; what went wrong, or nothing. */
export async function run(name: string): Promise<string> {
  const { device, uncaptured } = await open();
  try {
    await trials[name]!(device);
  } catch (error) {
    return String(error instanceof Error ? error.message : error);
  } finally {
    device.destroy();
  }
  return uncaptured.join("\n");
}
