// Thousands of particles run down a surface. Each rule has its own, and steps them all by one dispatch a frame.

import { createOptimizer, OptimizerError } from "../ts/index.js";
import type { Optimizer } from "../ts/index.js";
import { chart } from "./chart.js";
import { surfaces, wgsl } from "./surfaces.js";
import type { Surface } from "./surfaces.js";
import { choice, element, slider } from "./ui.js";
import type { View } from "./ui.js";

/** Rules of single coordinates, their colours, and the rate that suits them on these surfaces. */
const rules: Record<string, { color: string; lr: number; options?: Record<string, number | boolean> }> = {
  sgd: { color: "#8a8f98", lr: 0.0005 },
  "sgd, momentum": { color: "#b26a00", lr: 0.0003, options: { momentum: 0.9 } },
  adam: { color: "#2f6fde", lr: 0.02 },
  rmsprop: { color: "#c23b8f", lr: 0.01 },
  adabelief: { color: "#1c9a6c", lr: 0.02 },
  madam: { color: "#d9480f", lr: 0.02 },
  lamadam: { color: "#7c4dcc", lr: 0.02 },
  adamod: { color: "#0c93a8", lr: 0.02 },
  radam: { color: "#a1880b", lr: 0.02 },
  lion: { color: "#c92a2a", lr: 0.01 },
  nadam: { color: "#4c6ef5", lr: 0.02 },
  adan: { color: "#5c940d", lr: 0.02 },
};

interface Settings {
  surface: string;
  rules: string[];
  particles: number;
  /** Times each rule's own rate. */
  rate: number;
  beta1: number;
  beta2: number;
  noise: number;
  warmup: number;
  seed: number;
}

const initial: Settings = {
  surface: "rosenbrock",
  rules: ["sgd, momentum", "adam", "madam", "lion"],
  particles: 2500,
  rate: 1,
  beta1: 0.9,
  beta2: 0.999,
  noise: 0,
  warmup: 0,
  seed: 1,
};

/** One rule's particles. */
interface Runner {
  rule: string;
  optimizer: Optimizer;
  frame: GPUBuffer;
  compute: GPUBindGroup;
  draw: GPUBindGroup;
  losses: number[];
  label: HTMLElement;
}

const FRAME = 64;
/** Frames from one look at the losses to the next. */
const LOOK = 6;

export function race(device: GPUDevice, root: HTMLElement, shared: URLSearchParams): View {
  const settings = { ...initial };
  for (const key of Object.keys(initial) as (keyof Settings)[]) {
    const text = shared.get(key);
    if (text === null) continue;
    if (key === "rules") settings.rules = text.split(";").filter((rule) => rule in rules);
    else if (key === "surface") settings.surface = text in surfaces ? text : initial.surface;
    else if (Number.isFinite(Number(text))) settings[key] = Number(text);
  }
  settings.particles = Math.min(Math.max(Math.round(settings.particles), 1), 50_000);

  const canvas = element("canvas", { className: "surface" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Particles on the surface; the list below has their losses");
  const plot = element("canvas", { className: "plot" });
  const legend = element("ul", { className: "legend" });
  const about = element("p", { className: "about" });
  const status = element("p", { className: "status", role: "status" });
  const controls = element("div", { className: "controls" });
  root.append(element("div", { className: "columns" }, [element("div", {}, [canvas, legend, about]), element("div", {}, [controls, plot, status])]));

  const context = canvas.getContext("webgpu")!;
  const format = navigator.gpu.getPreferredCanvasFormat();
  context.configure({ device, format, alphaMode: "premultiplied" });

  let runners: Runner[] = [];
  let pipelines: Awaited<ReturnType<typeof makePipelines>> | undefined;
  let background: { frame: GPUBuffer; group: GPUBindGroup } | undefined;
  let sums: GPUBuffer | undefined;
  let generation = 0;
  let steps = 0;
  let frames = 0;
  let running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let hidden = false;
  let reading = false;
  let animation = 0;

  const surface = () => surfaces[settings.surface]!;

  async function start(): Promise<void> {
    const mine = ++generation;
    status.textContent = "";
    about.textContent = surface().about;
    stop();
    try {
      const made = await makePipelines(device, format, surface());
      const fresh: Runner[] = [];
      const all = device.createBuffer({ size: 256 * Math.max(settings.rules.length, 1), usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
      legend.replaceChildren();
      for (const [index, rule] of settings.rules.entries()) fresh.push(await makeRunner(rule, index, made, all));
      if (mine !== generation) return free(fresh);
      [pipelines, runners, sums, steps] = [made, fresh, all, 0];
      const frame = device.createBuffer({ size: FRAME, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      const group = device.createBindGroup({ layout: made.surface.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: frame } }] });
      background = { frame, group };
      schedule();
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  async function makeRunner(rule: string, index: number, made: NonNullable<typeof pipelines>, all: GPUBuffer): Promise<Runner> {
    const { color, options } = rules[rule]!;
    const count = settings.particles;
    const optimizer = await createOptimizer(device, {
      optimizer: rule.split(",")[0]!,
      ...options,
      label: `race: ${rule}`,
      tensors: [{ name: "particles", shape: [count, 2] }],
    });
    optimizer.write("particles", startOf(count, settings.seed, surface()));
    const frame = device.createBuffer({ size: FRAME, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const [param, grad] = [optimizer.param("particles"), optimizer.grad("particles")];
    const compute = device.createBindGroup({
      layout: made.gradients.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: frame } },
        { binding: 1, resource: param },
        { binding: 2, resource: grad },
        { binding: 3, resource: { buffer: all, offset: 256 * index, size: 4 } },
      ],
    });
    const draw = device.createBindGroup({
      layout: made.particles.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: frame } },
        { binding: 1, resource: param },
      ],
    });
    const label = element("li", { className: "rule" });
    label.style.setProperty("--color", color);
    legend.append(label);
    return { rule, optimizer, frame, compute, draw, losses: [], label };
  }

  function free(old: Runner[]): void {
    for (const { optimizer, frame } of old) {
      optimizer.destroy();
      frame.destroy();
    }
  }

  function stop(): void {
    cancelAnimationFrame(animation);
    free(runners);
    runners = [];
    background?.frame.destroy();
    sums?.destroy();
    background = sums = undefined;
  }

  function schedule(): void {
    cancelAnimationFrame(animation);
    if (!hidden) animation = requestAnimationFrame(draw);
  }

  /** The rule's options as the sliders say, where it has them. */
  function adjust({ rule, optimizer }: Runner): void {
    const group = optimizer.group();
    const warm = settings.warmup > 0 ? Math.min(1, (steps + 1) / settings.warmup) : 1;
    const lr = rules[rule]!.lr * settings.rate * warm;
    const wanted: Record<string, number> = { lr, beta1: settings.beta1, beta2: settings.beta2 };
    for (const [option, value] of Object.entries(wanted)) {
      if (option in group && group[option] !== value) group[option] = value;
    }
  }

  function draw(): void {
    if (!pipelines || !background || !sums) return;
    const size = Math.round(canvas.clientWidth * devicePixelRatio);
    if (size > 0 && canvas.width !== size) canvas.width = canvas.height = size;
    const { middle, half, noise } = surface();
    const words = (color: string, step: number) => {
      const bytes = new ArrayBuffer(FRAME);
      new Float32Array(bytes).set([...middle, half, half, ...rgb(color), 1, noise + settings.noise, 0.008]);
      new Uint32Array(bytes).set([step, settings.seed, settings.particles], 10);
      return bytes;
    };
    device.queue.writeBuffer(background.frame, 0, words("#000000", 0));
    const encoder = device.createCommandEncoder({ label: "race" });
    try {
      if (running) {
        for (const runner of runners) {
          adjust(runner);
          device.queue.writeBuffer(runner.frame, 0, words(rules[runner.rule]!.color, steps + 1));
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipelines.gradients);
          pass.setBindGroup(0, runner.compute);
          pass.dispatchWorkgroups(Math.ceil(settings.particles / 64));
          pass.setPipeline(pipelines.losses);
          pass.dispatchWorkgroups(1);
          runner.optimizer.encode(pass);
          pass.end();
        }
        steps += 1;
      }
    } catch (error) {
      // A slider may want what a rule refuses: the race waits.
      running = false;
      pause.textContent = "Go on";
      status.textContent = error instanceof OptimizerError ? error.message : String(error);
    }
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: context.getCurrentTexture().createView(), loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 0] }],
    });
    pass.setPipeline(pipelines.surface);
    pass.setBindGroup(0, background.group);
    pass.draw(3);
    pass.setPipeline(pipelines.particles);
    for (const runner of runners) {
      pass.setBindGroup(0, runner.draw);
      pass.draw(6, settings.particles);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    if (running && frames++ % LOOK === 0) void look();
    if (running) schedule();
  }

  /** Reads the mean losses, now and then; nobody waits for it. */
  async function look(): Promise<void> {
    const [first, mine, from, at] = [runners[0], generation, sums, steps];
    if (reading || !first || !from) return;
    reading = true;
    try {
      const ranges = runners.map((_, index) => ({ buffer: from, offset: 256 * index, size: 4 }));
      const losses = await first.optimizer.readRanges(ranges);
      if (mine !== generation) return;
      runners.forEach((runner, index) => {
        const loss = losses[index]!;
        runner.losses.push(loss);
        runner.label.dataset.loss = String(loss);
        runner.label.textContent = `${runner.rule}: ${Number.isFinite(loss) ? loss.toPrecision(3) : "lost"}`;
      });
      root.dataset.steps = String(at);
      chart(plot, runners.map(({ rule, losses }) => ({ name: rule, color: rules[rule]!.color, values: losses })), LOOK);
    } catch {
      // The device is lost, which the page says, or the race began anew.
    } finally {
      reading = false;
    }
  }

  const restart = () => void start();
  const pause = element("button", { type: "button" }, [running ? "Pause" : "Start"]);
  pause.addEventListener("click", () => {
    running = !running;
    status.textContent = "";
    pause.textContent = running ? "Pause" : "Go on";
    if (running) schedule();
  });
  const share = element("button", { type: "button" }, ["Copy link"]);
  share.addEventListener("click", () => {
    const query = new URLSearchParams(Object.entries(settings).map(([key, value]) => [key, Array.isArray(value) ? value.join(";") : String(value)]));
    const link = `${location.href.split("#")[0]}#race?${query}`;
    history.replaceState(null, "", link);
    navigator.clipboard?.writeText(link).then(
      () => (status.textContent = "The link is in the clipboard."),
      () => (status.textContent = "The link is in the address bar."),
    );
  });
  const again = element("button", { type: "button" }, ["Restart"]);
  again.addEventListener("click", restart);
  const other = element("button", { type: "button" }, ["Other seed"]);
  other.addEventListener("click", () => {
    settings.seed += 1;
    restart();
  });
  const names = Object.entries(surfaces).map(([key, { name }]) => [key, name] as [string, string]);
  const set = <K extends keyof Settings>(key: K, anew = false) => (value: Settings[K]) => {
    settings[key] = value;
    if (anew) restart();
    else if (!running) schedule();
  };
  controls.append(
    choice("Surface", names, settings.surface, set("surface", true)),
    element("div", { className: "buttons" }, [pause, again, other, share]),
    element("fieldset", {}, [
      element("legend", {}, ["Rules"]),
      ...Object.entries(rules).map(([rule, { color }]) => {
        const box = element("input", { type: "checkbox", checked: settings.rules.includes(rule) });
        box.addEventListener("change", () => {
          settings.rules = Object.keys(rules).filter((other) => (other === rule ? box.checked : settings.rules.includes(other)));
          restart();
        });
        const label = element("label", { className: "rule" }, [box, ` ${rule}`]);
        label.style.setProperty("--color", color);
        return label;
      }),
    ]),
    slider("Rate", { low: 0.01, high: 100, value: settings.rate, log: true, unit: " times each rule's" }, set("rate")),
    slider("beta1", { low: 0, high: 0.99, value: settings.beta1 }, set("beta1")),
    slider("beta2", { low: 0.01, high: 0.9999, value: settings.beta2 }, set("beta2")),
    slider("More noise", { low: 0, high: 20, value: settings.noise }, set("noise")),
    slider("Warm-up", { low: 0, high: 500, value: settings.warmup, whole: true, unit: " steps" }, set("warmup")),
    slider("Particles of each", { low: 100, high: 50_000, value: settings.particles, log: true, whole: true }, set("particles", true)),
  );

  const visibility = () => {
    hidden = document.hidden;
    if (!hidden) schedule();
  };
  document.addEventListener("visibilitychange", visibility);
  restart();
  return {
    close() {
      generation += 1;
      document.removeEventListener("visibilitychange", visibility);
      stop();
      context.unconfigure();
    },
  };
}

async function makePipelines(device: GPUDevice, format: GPUTextureFormat, surface: Surface) {
  const code = `${wgsl(surface)}
    @group(0) @binding(0) var<uniform> frame: Frame;
    @group(0) @binding(1) var<storage, read> positions: array<vec2f>;
    @group(0) @binding(2) var<storage, read_write> slopes: array<vec2f>;
    @group(0) @binding(3) var<storage, read_write> loss: array<f32>;
    var<workgroup> tree: array<f32, 64>;

    @compute @workgroup_size(64)
    fn gradients(@builtin(global_invocation_id) id: vec3u) {
      if (id.x >= frame.count) { return; }
      let noisy = gradient(positions[id.x], frame.step) + frame.noise * noise(id.x, frame.step, frame.seed);
      slopes[id.x] = noisy;
    }

    @compute @workgroup_size(64)
    fn losses(@builtin(local_invocation_index) lane: u32) {
      var sum = 0.0;
      for (var i = lane; i < frame.count; i += 64u) {
        // Those that left the picture far behind count as its rim.
        sum += min(value(positions[i]), 1e6);
      }
      tree[lane] = sum;
      workgroupBarrier();
      for (var half = 32u; half > 0u; half /= 2u) {
        if (lane < half) { tree[lane] += tree[lane + half]; }
        workgroupBarrier();
      }
      if (lane == 0u) { loss[0] = tree[0] / f32(frame.count); }
    }`;
  const drawing = `${wgsl(surface)}
    @group(0) @binding(0) var<uniform> frame: Frame;
    @group(0) @binding(1) var<storage, read> positions: array<vec2f>;
    struct Dot { @builtin(position) at: vec4f, @location(0) corner: vec2f }

    @vertex
    fn whole(@builtin(vertex_index) i: u32) -> Dot {
      let corner = vec2f(f32((i << 1u) & 2u), f32(i & 2u)) * 2.0 - 1.0;
      return Dot(vec4f(corner, 0.0, 1.0), corner);
    }

    // Heights by their logarithm, with lines of equal height.
    @fragment
    fn height(dot: Dot) -> @location(0) vec4f {
      let high = log2(1.0 + max(value(frame.middle + dot.corner * frame.half), 0.0));
      let line = 1.0 - smoothstep(0.0, 1.5, abs(fract(high) - 0.5) / fwidth(high));
      let shade = 0.10 + 0.055 * clamp(high, 0.0, 11.0);
      return vec4f(vec3f(0.55, 0.7, 1.0) * shade + 0.12 * line, 1.0);
    }

    @vertex
    fn particle(@builtin(vertex_index) i: u32, @builtin(instance_index) which: u32) -> Dot {
      var corners = array(vec2f(-1, -1), vec2f(1, -1), vec2f(-1, 1), vec2f(-1, 1), vec2f(1, -1), vec2f(1, 1));
      let at = (positions[which] - frame.middle) / frame.half;
      return Dot(vec4f(at + corners[i] * frame.radius, 0.0, 1.0), corners[i]);
    }

    @fragment
    fn round(dot: Dot) -> @location(0) vec4f {
      let inside = 1.0 - smoothstep(0.6, 1.0, length(dot.corner));
      return vec4f(frame.color.rgb, 1.0) * inside * 0.9;
    }`;
  const [compute, module] = [code, drawing].map((code) => device.createShaderModule({ code })) as [GPUShaderModule, GPUShaderModule];
  const bindings = ["uniform", "read-only-storage", "storage", "storage"] as const;
  const group = device.createBindGroupLayout({
    entries: bindings.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
  });
  const layout = device.createPipelineLayout({ bindGroupLayouts: [group] });
  const computed = (entryPoint: string) => device.createComputePipelineAsync({ layout, compute: { module: compute, entryPoint } });
  const over: GPUBlendComponent = { srcFactor: "one", dstFactor: "one-minus-src-alpha" };
  const drawn = (vertex: string, fragment: string) =>
    device.createRenderPipelineAsync({
      layout: "auto",
      vertex: { module, entryPoint: vertex },
      fragment: { module, entryPoint: fragment, targets: [{ format, blend: { color: over, alpha: over } }] },
    });
  const [gradients, losses, ground, particles] = await Promise.all([
    computed("gradients"),
    computed("losses"),
    drawn("whole", "height"),
    drawn("particle", "round"),
  ]);
  return { gradients, losses, surface: ground, particles };
}

/** Places all over the picture, the same for each rule. */
function startOf(count: number, seed: number, { middle, half }: Surface): Float32Array {
  let state = (seed * 0x9e3779b9) | 1;
  const random = () => {
    // xorshift32, G. Marsaglia, 2003.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
  return Float32Array.from({ length: 2 * count }, (_, i) => middle[i % 2]! + half * 0.95 * random());
}

function rgb(color: string): [number, number, number] {
  const part = (at: number) => parseInt(color.slice(at, at + 2), 16) / 255;
  return [part(1), part(3), part(5)];
}
