// Runs every trial of the module in Node.js.
//
//   node run.mjs MODULE
//
// A line for each trial that fails, with what it said; the exit code is 1 if one did, or if there was none.

import { readFile } from "node:fs/promises";

const module = await WebAssembly.compile(await readFile(process.argv[2]));
let said = [];

// A module whose trial panicked is of no use any more, so each panic takes a new one.
async function start() {
  const instance = await WebAssembly.instantiate(module, {
    env: {
      report: (text, bytes) =>
        said.push(new TextDecoder().decode(new Uint8Array(instance.exports.memory.buffer, text, bytes))),
    },
  });
  return { ...instance.exports, total: instance.exports.collect() };
}

let trials = await start();
const counts = { ok: 0, failed: 0, ignored: 0 };
for (let index = 0; index < trials.total; index++) {
  said = [];
  trials.name(index);
  const name = said.pop();
  let verdict = 1;
  try {
    verdict = trials.run(index);
  } catch (error) {
    said.push(String(error));
    trials = await start();
  }
  counts[["ok", "failed", "ignored"][verdict]] += 1;
  if (verdict === 1) console.log([`FAILED ${name}`, ...said].join("\n    "));
}
console.log(`without wgpu, in WebAssembly: ${counts.ok} passed, ${counts.failed} failed, ${counts.ignored} ignored`);
process.exit(counts.failed > 0 || counts.ok === 0 ? 1 : 0);
