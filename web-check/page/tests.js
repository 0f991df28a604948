// Runs the trials of the module, from one index on, until one traps: what panicked cannot go on, and run.js opens
// another page for the rest.

import init, { name } from "./web_check.js";

const wasm = await init();
const collect = WebAssembly.promising(wasm.collect);
const run = WebAssembly.promising(wasm.run);
const verdicts = ["ok", "failed", "ignored"];

// [{ name, verdict, milliseconds }] of up to `many` trials, and how many there are.
window.runTrials = async (from, many, wanted) => {
  const total = await collect();
  const results = [];
  let index = from;
  while (index < total && results.length < many) {
    const trial = { name: name(index), verdict: "failed" };
    index += 1;
    if (!trial.name.includes(wanted)) continue;
    results.push(trial);
    const start = performance.now();
    try {
      trial.verdict = verdicts[await run(index - 1)];
    } catch (error) {
      console.error(String(error));
      break;
    } finally {
      trial.milliseconds = performance.now() - start;
    }
  }
  return { results, next: index, total };
};
window.ready = true;
