// Every claim about the package and its pages, in headless Chromium.
//
//   node test/run.js [PART OF A NAME]
//
// A line for each trial; the exit code is 1 if one failed, or if there was none.

import { open, pageOf, serve } from "./browser.js";
import { recordings } from "./recordings.js";
import { views } from "./views.js";

const wanted = process.argv[2] ?? "";
const counts = { ok: 0, failed: 0 };
const server = await serve();
const browser = await open();

/** A trial passes if it returns nothing. */
async function trial(name, run) {
  if (!name.includes(wanted)) return;
  const start = performance.now();
  const wrong = await run().catch((error) => String(error?.stack ?? error));
  counts[wrong ? "failed" : "ok"] += 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${name} ... ${wrong ? `FAILED\n    ${String(wrong).replaceAll("\n", "\n    ")}` : "ok"} (${seconds} s)`);
}

/** Runs something of trials.js in a page of its own. */
async function inPage(call, ...values) {
  const { page, errors } = await pageOf(browser);
  await page.goto(`${server.address}test/trials.html`);
  await page.waitForFunction(() => window.ready, null, { timeout: 60_000 });
  const result = await page.evaluate(([call, values]) => window.trials[call](...values), [call, values]);
  await page.context().close();
  return { result, errors };
}

const { page } = await pageOf(browser);
await page.goto(`${server.address}test/trials.html`);
await page.waitForFunction(() => window.ready, null, { timeout: 60_000 });
const names = await page.evaluate(() => Object.keys(window.trials.trials));
await page.context().close();

for (const name of names) {
  await trial(name, async () => {
    const { result, errors } = await inPage("run", name);
    return [result, ...errors].filter(Boolean).join("\n");
  });
}

await trial("a step that is 2 % too long is found", async () => {
  const { result } = await inPage("wrongIsFound");
  return result === "1 theta" ? "" : result;
});

const STRIDE = 12;
for (let first = 0; first < STRIDE; first++) {
  await trial(`the registry against the reference, ${first + 1} of ${STRIDE}`, async () => {
    const { result } = await inPage("registry", first, STRIDE);
    if (result.ran < 20 || result.words < 1e5) return `only ${result.ran} cases and ${result.words} words`;
    return result.wrong.join("\n");
  });
}

const recorded = await recordings();
const PART = 25;
for (let first = 0; first < recorded.length; first += PART) {
  const part = recorded.slice(first, first + PART);
  await trial(`recorded trajectories from ${part[0].name} on`, async () => {
    const { result, errors } = await inPage("replay", part);
    const wrong = Object.entries(result).filter(([, distance]) => !(distance <= 1));
    if (Object.keys(result).length !== part.length) errors.push(`only ${Object.keys(result).length} were replayed`);
    return [...wrong.map(([name, distance]) => `${name}: ${distance.toFixed(3)} of the bound`), ...errors].join("\n");
  });
}

await trial("a flipped gradient is noticed in every fifth of them", async () => {
  const { result } = await inPage("replay", recorded.filter((_, index) => index % 5 === 0), true);
  const missed = Object.entries(result).filter(([, distance]) => distance <= 1);
  return missed.map(([name, distance]) => `${name}: ${distance.toFixed(3)} of the bound`).join("\n");
});

await views(browser, server.address, trial);

await browser.close();
server.stop();
console.log(`web-test: ${counts.ok} passed, ${counts.failed} failed, in Chromium ${browser.version()}`);
process.exit(counts.failed > 0 || counts.ok === 0 ? 1 : 0);
