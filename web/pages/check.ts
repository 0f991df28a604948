// Holds the visitor's GPU against the reference: every rule, every word of every step.

import { limitsOf, load } from "../ts/core.js";
import { isSoftware, version } from "../ts/index.js";
import { nameOf } from "./adapter.js";
import { download, element, table, turn } from "./ui.js";
import type { View } from "./ui.js";
import { check, probe, wasm } from "./validate.js";
import type { Probe, Verdict } from "./validate.js";

/** What a probe found, in words, and whether WGSL leaves no choice. */
const words: Record<string, [question: string, must?: boolean]> = {
  division_is_exact: ["A quotient is the nearest number"],
  square_root_is_exact: ["A square root is the nearest number"],
  contracts_products: ["A product and a sum become one operation"],
  flushes_subnormals: ["Numbers below 1.2e-38 become zero"],
  passes_nan_on: ["NaN and infinity come through arithmetic"],
  drops_writes_out_of_range: ["A write behind a buffer's end is dropped, not moved inside"],
  zeroes_variables: ["A variable without a first value is zero in every round of a loop", true],
  runs_large_dispatches: ["A dispatch of 131 070 workgroups runs whole", true],
  keeps_writes_inside: ["No write comes to what lies around a binding", true],
};

export function checkView(device: GPUDevice, root: HTMLElement, _: URLSearchParams, adapter: GPUAdapter): View {
  let generation = 0;
  const run = element("button", { type: "button" }, ["Check every rule"]);
  const all = element("button", { type: "button" }, ["Check every case"]);
  const save = element("button", { type: "button", disabled: true }, ["Download JSON"]);
  const progress = element("progress", { max: 1, value: 0, hidden: true });
  progress.setAttribute("aria-label", "Cases that were run");
  const status = element("p", { className: "status", role: "status" });
  const probes = element("div", { className: "scroll" });
  const results = element("div", { className: "scroll" });
  root.append(
    element("h2", {}, ["Check my GPU"]),
    element("p", { className: "soft" }, [
      "Each rule steps on this GPU and in a reference on the CPU. Before each step every word is read; after it every word must lie in the interval that the WGSL specification allows from exactly these words.",
    ]),
    element("p", {}, [`${nameOf(adapter)}${isSoftware(adapter.info) ? ". What is seen here says nothing about a GPU." : ""}`]),
    element("div", { className: "buttons" }, [run, all, save]),
    progress,
    status,
    results,
    probes,
  );
  let report: { probe?: Probe; verdicts: Verdict[]; error?: string } = { verdicts: [] };

  async function start(quick: boolean): Promise<void> {
    const mine = ++generation;
    report = { verdicts: [] };
    run.disabled = all.disabled = true;
    save.disabled = true;
    progress.hidden = false;
    try {
      await load();
      report.probe = await probe(device);
      showProbe(report.probe);
      const cases = new wasm.Cases(quick);
      progress.max = cases.count();
      for (let index = 0; index < cases.count() && mine === generation; index++) {
        progress.value = index;
        status.textContent = `${cases.rule(index)}, ${index + 1} of ${cases.count()}`;
        report.verdicts.push(await check(device, cases, index));
        if (index % 4 === 0 || index + 1 === cases.count()) show();
        await turn();
      }
      cases.free();
    } catch (error) {
      report.error = error instanceof Error ? error.message : String(error);
    }
    if (mine !== generation) return;
    show();
    const wrong = report.verdicts.filter(({ violation }) => violation).length;
    status.textContent = report.error ?? (wrong === 0 ? `All ${report.verdicts.length} cases are as WGSL allows.` : `${wrong} cases are not as WGSL allows.`);
    root.dataset.done = wrong === 0 && !report.error ? "good" : "bad";
    progress.hidden = true;
    run.disabled = all.disabled = save.disabled = false;
  }

  function show(): void {
    const rules = [...new Set(report.verdicts.map(({ rule }) => rule.optimizer))];
    const rows = rules.map((name) => {
      const mine = report.verdicts.filter(({ rule }) => rule.optimizer === name);
      const wrong = mine.find(({ violation }) => violation)?.violation;
      return [
        name,
        mine.length,
        mine.reduce((sum, { words }) => sum + words, 0).toLocaleString("en"),
        Math.max(...mine.map(({ worst }) => worst)).toFixed(3),
        wrong ? `step ${wrong.step}, ${wrong.slot}[${wrong.element}]: ${wrong.got}, allowed ${wrong.expected}` : "as WGSL allows",
      ];
    });
    const made = table(["rule", "cases", "words", "worst, in intervals", "verdict"], rows);
    for (const cell of made.querySelectorAll("td:last-child")) {
      cell.className = cell.textContent === "as WGSL allows" ? "good" : "bad";
    }
    results.replaceChildren(made);
  }

  function showProbe(found: Probe): void {
    const rows = Object.entries(words).map(([key, [question, must]]) => [
      question,
      found[key] ? "yes" : must ? "no, against WGSL; the library does without" : "no",
    ]);
    probes.replaceChildren(element("h2", {}, ["Where WGSL leaves a choice"]), table(["", "here"], rows));
  }

  run.addEventListener("click", () => void start(true));
  all.addEventListener("click", () => void start(false));
  save.addEventListener("click", async () => {
    const { vendor, architecture, description } = adapter.info;
    const document = {
      version: wasm.check_version(),
      library: await version(),
      adapters: [
        {
          name: nameOf(adapter),
          backend: "WebGPU",
          driver: `${vendor} ${architecture} ${description}; ${navigator.userAgent}`,
          device_type: isSoftware(adapter.info) ? "Cpu" : "Other",
          limits: JSON.parse(limitsOf(device)) as unknown,
          probe: report.probe,
          error: report.error ?? null,
          verdicts: report.verdicts,
        },
      ],
    };
    download("wgpu-optim-check.json", "application/json", JSON.stringify(document, null, 1));
  });
  return { close: () => void generation++ };
}
