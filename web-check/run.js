// Opens the page in headless Chromium, with WebGPU on the CPU (SwiftShader), and runs every trial.
//
//   node run.js FOLDER [PART OF A NAME]      FOLDER holds the page and the module
//
// A line for each trial that fails, with what it printed; the exit code is 1 if one did, or if there was none.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const [folder, wanted = ""] = process.argv.slice(2);
// A page's devices are given back with the page.
const TRIALS_A_PAGE = 60;
const MINUTES = 40;

const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const server = createServer(async (request, response) => {
  try {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    const body = await readFile(join(folder, path === "/" ? "index.html" : path));
    response.writeHead(200, { "content-type": types[extname(path)] ?? "text/html" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? known.find(existsSync),
  args: [
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan,WebAssemblyExperimentalJSPI",
    "--disable-background-networking",
  ],
});
const stop = setTimeout(() => {
  console.error(`web-check: not done after ${MINUTES} minutes`);
  process.exit(1);
}, MINUTES * 60_000);

const counts = { ok: 0, failed: 0, ignored: 0 };
const slow = [];
for (let next = 0, total = 1; next < total; ) {
  const page = await browser.newPage();
  const printed = [];
  page.on("console", (message) => message.type() === "error" && printed.push(message.text()));
  // Such as a refusal by WebGPU, which tests/common makes a panic.
  page.on("pageerror", (error) => {
    printed.push(String(error));
    counts.failed += 1;
    console.log(`FAILED with an error of the page: ${error}`);
  });
  await page.goto(address);
  await page.waitForFunction(() => window.ready, null, { timeout: 60_000 }).catch((error) => {
    console.error(printed.join("\n"));
    throw error;
  });
  const part = await page.evaluate(([from, many, part]) => window.runTrials(from, many, part), [next, TRIALS_A_PAGE, wanted]);
  for (const { name, verdict, milliseconds } of part.results) {
    counts[verdict] += 1;
    slow.push([milliseconds, name]);
    if (verdict === "failed") console.log(`FAILED ${name}`);
  }
  if (printed.length > 0) console.log(printed.map((line) => `    ${line}\n`).join(""));
  ({ next, total } = part);
  if (process.stderr.isTTY) process.stderr.write(`\r${next} of ${total}`);
  await page.close();
}
clearTimeout(stop);
slow.sort(([a], [b]) => b - a);
console.log(`slowest: ${slow.slice(0, 3).map(([time, name]) => `${name} (${(time / 1000).toFixed(1)} s)`).join(", ")}`);
console.log(`web-check: ${counts.ok} passed, ${counts.failed} failed, ${counts.ignored} ignored, in ${browser.version()}`);
await browser.close();
server.close();
process.exit(counts.failed > 0 || counts.ok === 0 ? 1 : 0);
