// Parameters a second of every rule, against a kernel that copies.

import { createOptimizer, isSoftware, load } from "../ts/index.js";
import type { Optimizer } from "../ts/index.js";
import { nameOf } from "./adapter.js";
import { choice, element, table, turn } from "./ui.js";
import type { View } from "./ui.js";
import { wasm } from "./validate.js";

/** Browsers round clocks: what is measured takes so long, in milliseconds. */
const LONG = 120;
const ROUNDS = 5;

interface Row {
  rule: string;
  milliseconds: number;
  /** Bytes a second over those of the copy. */
  share: number;
  dispatches: number;
}

/** Work that can be recorded many times. */
type Work = (encoder: GPUCommandEncoder) => void;

export function numbersView(device: GPUDevice, root: HTMLElement, _: URLSearchParams, adapter: GPUAdapter): View {
  let generation = 0;
  let count = isSoftware(adapter.info) ? 1 << 18 : 1 << 22;
  const status = element("p", { className: "status", role: "status" });
  const results = element("div", { className: "scroll" });
  const run = element("button", { type: "button" }, ["Measure"]);
  const copy = element("button", { type: "button", disabled: true }, ["Copy as Markdown"]);
  const sizes = [18, 20, 22, 24, 26].filter((power) => 4 * 2 ** power <= device.limits.maxStorageBufferBindingSize);
  root.append(
    element("h2", {}, ["Numbers"]),
    element("p", { className: "soft" }, [
      "Milliseconds of a step, many steps in a submission, in turns with a kernel that copies as many bytes; medians of five. A share of 1 is as fast as memory allows.",
    ]),
    element("p", {}, [`${nameOf(adapter)}${isSoftware(adapter.info) ? ". These are a CPU's numbers." : ""}`]),
    element("div", { className: "buttons" }, [
      choice("Parameters", sizes.map((power) => [String(2 ** power), (2 ** power).toLocaleString("en")]), String(count), (value) => (count = Number(value))),
      run,
      copy,
    ]),
    status,
    results,
  );
  let rows: Row[] = [];

  async function start(): Promise<void> {
    const mine = ++generation;
    rows = [];
    run.disabled = copy.disabled = true;
    try {
      await load();
      const examples = JSON.parse(wasm.examples()) as Record<string, { optimizer: string }>;
      const copying = await fastestCopy(device, count);
      for (const [index, [rule, options]] of Object.entries(examples).entries()) {
        if (mine !== generation) return;
        status.textContent = `${rule}, ${index + 1} of ${Object.keys(examples).length}`;
        const optimizer = await createOptimizer(device, { ...options, tensors: [{ name: "w", shape: [count / 1024, 1024] }] });
        try {
          rows.push(await measured(device, rule, optimizer, copying.work, count));
        } finally {
          optimizer.destroy();
        }
        show();
        await turn();
      }
      copying.destroy();
      status.textContent = `${rows.length} rules, ${count.toLocaleString("en")} parameters each.`;
      root.dataset.done = "good";
      copy.disabled = false;
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
    run.disabled = false;
  }

  const cells = ({ rule, milliseconds, share, dispatches }: Row) => [
    rule,
    milliseconds.toPrecision(3),
    ((count / milliseconds) * 1e-6).toPrecision(3),
    share.toFixed(2),
    dispatches,
  ];
  const head = ["rule", "ms a step", "10⁹ parameters/s", "share of the copy's rate", "dispatches"];
  const show = () => results.replaceChildren(table(head, rows.map(cells)));

  run.addEventListener("click", () => void start());
  copy.addEventListener("click", () => {
    const line = (cells: (string | number)[]) => `| ${cells.join(" | ")} |`;
    const title = `wgpu-optim, ${count.toLocaleString("en")} parameters, ${nameOf(adapter)}, ${new Date().toISOString().slice(0, 10)}`;
    const text = [title, "", line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map((row) => line(cells(row)))].join("\n");
    root.dataset.markdown = text;
    navigator.clipboard?.writeText(text).then(
      () => (status.textContent = "The table is in the clipboard."),
      () => results.replaceChildren(element("pre", {}, [text])),
    );
  });
  return { close: () => void generation++ };
}

/** A step's time and that of the copy, in turns. */
async function measured(device: GPUDevice, rule: string, optimizer: Optimizer, copying: Work, count: number): Promise<Row> {
  optimizer.writeGrad("w", Float32Array.from({ length: count }, (_, i) => ((i % 1021) + 1) / 1024));
  const step: Work = (encoder) => optimizer.step(encoder);
  const most = optimizer.stepsAhead;
  const many = [await repeats(device, step, most), await repeats(device, copying, 1000)] as const;
  const [times, copies]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    times.push(await time(device, step, many[0], most));
    copies.push(await time(device, copying, many[1], 1000));
  }
  const milliseconds = median(times);
  const share = median(times.map((time, i) => (optimizer.bytes.perParameterAndStep * copies[i]!) / (8 * time)));
  return { rule, milliseconds, share, dispatches: optimizer.dispatchesPerStep };
}

/** Milliseconds of one of `many`, in submissions of at most `most`. */
async function time(device: GPUDevice, work: Work, many: number, most: number): Promise<number> {
  await device.queue.onSubmittedWorkDone();
  const start = performance.now();
  for (let done = 0; done < many; done += most) {
    const encoder = device.createCommandEncoder();
    for (let i = done; i < Math.min(done + most, many); i++) work(encoder);
    device.queue.submit([encoder.finish()]);
  }
  await device.queue.onSubmittedWorkDone();
  return (performance.now() - start) / many;
}

/** So many that they take long enough for the clock; warms up, too. */
async function repeats(device: GPUDevice, work: Work, most: number): Promise<number> {
  await time(device, work, 1, most);
  const each = await time(device, work, 4, most);
  return Math.min(Math.max(Math.ceil(LONG / Math.max(each, 1e-3)), 1), 2000);
}

/** The fastest of some kernels that copy. */
async function fastestCopy(device: GPUDevice, count: number): Promise<{ work: Work; destroy(): void }> {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const [from, to] = [0, 1].map(() => device.createBuffer({ size: 4 * count, usage })) as [GPUBuffer, GPUBuffer];
  const kernels: { work: Work; time: number }[] = [];
  for (const [width, each] of [[256, 1], [256, 4], [64, 16]] as const) {
    const code = `
      @group(0) @binding(0) var<storage, read> a: array<vec4f>;
      @group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
      @compute @workgroup_size(${width})
      fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
        let first = (group.y * grid.x + group.x) * ${width * each}u + lane;
        for (var i = 0u; i < ${each}u; i++) { b[first + i * ${width}u] = a[first + i * ${width}u]; }
      }`;
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const entries = [from, to].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const groups = count / 4 / (width * each);
    const rows = Math.ceil(groups / 65_535);
    const work: Work = (encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
      pass.end();
    };
    kernels.push({ work, time: await time(device, work, await repeats(device, work, 1000), 1000) });
  }
  const { work } = kernels.reduce((best, kernel) => (kernel.time < best.time ? kernel : best));
  return {
    work,
    destroy: () => [from, to].forEach((buffer) => buffer.destroy()),
  };
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
