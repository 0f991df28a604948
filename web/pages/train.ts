// The digits network in the page: rules side by side, and a digit that the visitor draws.

import { load } from "../ts/index.js";
import { chart } from "./chart.js";
import { loadDigits, Network, Task } from "./network.js";
import { digitPad } from "./pad.js";
import { element, table } from "./ui.js";
import type { View } from "./ui.js";
import { wasm } from "./validate.js";

const colors = ["#2f6fde", "#d9480f", "#1c9a6c", "#7c4dcc", "#c23b8f", "#a1880b", "#0c93a8", "#c92a2a", "#5c940d", "#8a8f98"];
const initial = ["adamw", "madam", "sgd", "lion"];
const STEPS_A_FRAME = 2;
/** Steps from one test to the next. */
const TEST = 20;

interface Student {
  rule: string;
  color: string;
  network: Network;
  losses: number[];
  accuracy: number;
}

export function trainView(device: GPUDevice, root: HTMLElement, shared: URLSearchParams): View {
  let chosen = shared.get("rules")?.split(";") ?? initial;
  let students: Student[] = [];
  let generation = 0;
  let running = true;
  let animation = 0;
  let last = 0;
  let seed = 1;
  let task: Task | undefined;

  const plot = element("canvas", { className: "plot" });
  const results = element("div", { className: "scroll" });
  const status = element("p", { className: "status", role: "status" });
  const boxes = element("fieldset", {}, [element("legend", {}, ["Rules"])]);
  const answer = element("p", { className: "answer", role: "status" }, ["Draw a digit: the network with the best accuracy reads it."]);
  const pause = element("button", { type: "button" }, ["Pause"]);
  const again = element("button", { type: "button" }, ["Restart"]);
  const pad = digitPad((image) => void read(image));
  root.append(
    element("h2", {}, ["A network learns to read digits"]),
    element("p", { className: "soft" }, ["1 437 images of 8 × 8 pixels train, 360 test. Each rule trains the same network, from the same weights, with the rate that suits it."]),
    element("div", { className: "columns" }, [
      element("div", {}, [element("div", { className: "buttons" }, [pause, again]), plot, results, status]),
      element("div", {}, [pad.root, answer, boxes]),
    ]),
  );

  async function start(): Promise<void> {
    const mine = ++generation;
    stop();
    status.textContent = "";
    try {
      await load();
      task ??= await Task.of(device, await loadDigits(new URL("digits.csv.gz", import.meta.url).href));
      const examples = JSON.parse(wasm.examples()) as Record<string, { optimizer: string }>;
      if (boxes.children.length === 1) showBoxes(Object.keys(examples));
      chosen = chosen.filter((rule) => rule in examples || rule === "adamw");
      const made: Student[] = [];
      for (const [index, rule] of chosen.entries()) {
        const options = examples[rule] ?? { ...examples.adam, optimizer: "adamw" };
        const network = await Network.of(task, options, seed);
        made.push({ rule, color: colors[index % colors.length]!, network, losses: [], accuracy: 0 });
      }
      if (mine !== generation) return made.forEach(({ network }) => network.destroy());
      students = made;
      last = 0;
      await look();
      schedule();
    } catch (error) {
      if (mine === generation) status.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  function stop(): void {
    cancelAnimationFrame(animation);
    for (const { network } of students) network.destroy();
    students = [];
  }

  function schedule(): void {
    cancelAnimationFrame(animation);
    if (running && !document.hidden) animation = requestAnimationFrame(frame);
  }

  function frame(): void {
    try {
      for (const { network } of students) for (let i = 0; i < STEPS_A_FRAME; i++) network.step();
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    const steps = students[0]?.network.steps ?? 0;
    if (steps - last < TEST) return schedule();
    last = steps;
    void look().then(schedule);
  }

  async function look(): Promise<void> {
    const mine = generation;
    try {
      const tests = await Promise.all(students.map(({ network }) => network.test()));
      if (mine !== generation) return;
      students.forEach((student, i) => {
        student.losses.push(tests[i]!.loss);
        student.accuracy = tests[i]!.accuracy;
      });
      const rows = students.map(({ rule, losses, accuracy }) => [rule, (losses.at(-1) ?? NaN).toPrecision(3), `${(100 * accuracy).toFixed(1)} %`]);
      const made = table(["rule", "loss", "right, of 360"], rows);
      made.querySelectorAll("tbody tr").forEach((row, i) => {
        const cell = row.firstElementChild as HTMLElement;
        cell.classList.add("rule");
        cell.style.setProperty("--color", students[i]!.color);
      });
      results.replaceChildren(made);
      root.dataset.steps = String(students[0]?.network.steps ?? 0);
      root.dataset.accuracy = String(Math.min(...students.map(({ accuracy }) => accuracy)));
      chart(plot, students.map(({ rule, color, losses }) => ({ name: rule, color, values: losses })), TEST);
    } catch {
      // The device is lost, which the page says, or the training began anew.
    }
  }

  async function read(image: Float32Array): Promise<void> {
    const best = [...students].sort((a, b) => b.accuracy - a.accuracy)[0];
    if (!best) return;
    const shares = await best.network.read(image);
    const order = shares.map((share, digit) => ({ share, digit })).sort((a, b) => b.share - a.share);
    const say = ({ digit, share }: { digit: number; share: number }) => `${digit} (${(100 * share).toFixed(0)} %)`;
    answer.textContent = `${best.rule} reads ${say(order[0]!)}, else ${say(order[1]!)}.`;
    answer.dataset.digit = String(order[0]!.digit);
  }

  function showBoxes(names: string[]): void {
    for (const rule of ["adamw", ...names]) {
      const box = element("input", { type: "checkbox", checked: chosen.includes(rule) });
      box.addEventListener("change", () => {
        chosen = box.checked ? [...chosen, rule] : chosen.filter((other) => other !== rule);
        history.replaceState(null, "", `#train?${new URLSearchParams({ rules: chosen.join(";") })}`);
        void start();
      });
      boxes.append(element("label", {}, [box, ` ${rule}`]));
    }
  }

  pause.addEventListener("click", () => {
    running = !running;
    pause.textContent = running ? "Pause" : "Go on";
    schedule();
  });
  again.addEventListener("click", () => {
    seed += 1;
    void start();
  });
  document.addEventListener("visibilitychange", schedule);
  void start();
  return {
    close() {
      generation += 1;
      document.removeEventListener("visibilitychange", schedule);
      stop();
    },
  };
}
