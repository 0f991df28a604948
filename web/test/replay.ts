// What other people's implementations did, over this executor: the twin of tests/golden.rs, and of the sums of tests/norms.rs.

import { createOptimizer, load } from "../ts/index.js";
import type { Description } from "../ts/index.js";
import { open } from "./trials.js";

interface Recording {
  name: string;
  optimizer: string;
  options: Partial<Description>;
  lr: number[];
  tensors: { name: string; shape: number[]; init: number[]; grads: number[]; params: number[] }[];
}

/** The part of step `step` of values that are recorded step by step. */
const at = (values: number[], step: number, len: number) => values.slice(step * len, (step + 1) * len);

/** The worst error of a run from its recording after any step, over what f32 allows: up to 1 is a match. */
async function distance(device: GPUDevice, recording: Recording): Promise<number> {
  const { tensors, lr, options, optimizer: name } = recording;
  const optimizer = await createOptimizer(device, {
    ...options,
    optimizer: name,
    tensors: tensors.map(({ name, shape }) => ({ name, shape })),
  });
  const inits = (step: number) => tensors.flatMap(({ init, params }) => at(params, step, init.length).map((x, i) => Math.abs(x - init[i]!)));
  const displacement = lr.reduce((largest, _, step) => Math.max(largest, ...inits(step)), 0);
  const largest = tensors.reduce((largest, { init, params }) => [...init, ...params].reduce((a, x) => Math.max(a, Math.abs(x)), largest), 0);
  for (const { name, init } of tensors) optimizer.write(name, init);
  let worst = 0;
  for (const [step, rate] of lr.entries()) {
    optimizer.group().lr = rate;
    for (const { name, init, grads } of tensors) optimizer.writeGrad(name, at(grads, step, init.length));
    const encoder = device.createCommandEncoder();
    optimizer.step(encoder);
    device.queue.submit([encoder.finish()]);
    const got = await Promise.all(tensors.map(({ name }) => optimizer.read(name)));
    // As in examples/support/comparison.rs: a parameter itself is rounded once or twice a step.
    const bound = 5e-6 * displacement + (step + 1) * 2 ** -23 * largest;
    tensors.forEach(({ init, params }, index) => {
      at(params, step, init.length).forEach((want, i) => {
        const error = Math.abs(got[index]![i]! - want);
        worst = Math.max(worst, error === 0 ? 0 : Number.isNaN(error) ? Infinity : error / bound);
      });
    });
  }
  optimizer.destroy();
  return worst;
}

/** Which recordings are not met, and by how much; `flip` spoils each by one sign. */
export async function replay(recordings: Recording[], flip = false): Promise<Record<string, number>> {
  await load();
  const { device, uncaptured } = await open();
  const distances: Record<string, number> = {};
  for (const recording of recordings) {
    if (flip) {
      // Of the second step's largest gradient: AdaShift only ever squares the first one's.
      const largest = recording.tensors
        .flatMap(({ init, grads }) => init.map((_, i) => ({ grads, index: init.length + i })))
        .reduce((a, b) => (Math.abs(a.grads[a.index]!) >= Math.abs(b.grads[b.index]!) ? a : b));
      largest.grads[largest.index] = -largest.grads[largest.index]!;
    }
    distances[recording.name] = await distance(device, recording);
  }
  device.destroy();
  if (uncaptured.length) throw new Error(uncaptured.join("\n"));
  return distances;
}

/** Norms of gradients of all magnitudes and many sizes, against sums in f64. */
export async function norms(device: GPUDevice): Promise<void> {
  for (const len of [1, 3, 1000, 70_001, 300_000]) {
    const optimizer = await createOptimizer(device, { optimizer: "sgd", max_grad_norm: 1e30, tensors: [{ name: "w", shape: [len] }] });
    for (const exponent of [-44, -38, -30, -15, 0, 15, 30]) {
      const g = Float32Array.from({ length: len }, (_, i) => Math.sin(i + 1) * 10 ** (exponent + (i % 7) / 2));
      optimizer.writeGrad("w", g);
      const encoder = device.createCommandEncoder();
      optimizer.step(encoder);
      device.queue.submit([encoder.finish()]);
      const { norm, notFinite } = await optimizer.gradNorm();
      // Scaled, so that no square is lost.
      const scale = g.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
      const truth = scale * Math.sqrt(g.reduce((sum, x) => sum + (x / scale) ** 2, 0));
      // What is below the normal numbers may be taken as 0.
      const room = truth < 2 ** -126 ? 2 ** -126 : 1e-6 * truth;
      if (notFinite !== 0 || !(Math.abs(norm - truth) <= room)) {
        throw new Error(`${len} gradients of 1e${exponent}: got ${norm}, truth ${truth}, ${notFinite} not finite`);
      }
    }
    optimizer.destroy();
  }
}
