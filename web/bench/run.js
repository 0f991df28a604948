// wgpu-optim beside tfjs, jax-js and a hand-written kernel in one Chromium: sizes of the bundles, dispatches, host time and time of
// a step. Minima, since a browser's clock is coarse and a shared machine is noisy.
//
//   scripts/web.sh && cd web/bench && npm install && node run.js [--out FILE.md]

import { build } from "esbuild";
import { readFile, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { open, pageOf, serve } from "../test/browser.js";

const out = process.argv[process.argv.indexOf("--out") + 1];
const here = new URL(".", import.meta.url).pathname;
const folder = `${here}../site/bench`;
const common = { bundle: true, minify: true, format: "esm", logLevel: "error", absWorkingDir: here };
await build({ ...common, entryPoints: ["tfjs.js", "jax.js"], outdir: folder, splitting: false });
await build({ ...common, entryPoints: ["page.js"], outdir: folder, external: ["wgpu-optim", "./tfjs.js", "./jax.js"] });
await writeFile(
  `${folder}/index.html`,
  `<!doctype html><link rel="icon" href="data:," />
   <script type="importmap">{ "imports": { "wgpu-optim": "../ts/index.js" } }</script>
   <script type="module" src="page.js"></script>`,
);
const gzip = async (path) => gzipSync(await readFile(path), { level: 9 }).length;
// Ours as the package is: the page's build beside it has the reference too.
const dist = `${here}../dist`;
await build({ ...common, entryPoints: [`${dist}/index.js`], outfile: `${folder}/ours.js`, loader: { ".wasm": "file" } });
const sizes = {
  "wgpu-optim": (await gzip(`${folder}/ours.js`)) + (await gzip(`${dist}/core/core_bg.wasm`)),
  "tfjs 4.22": await gzip(`${folder}/tfjs.js`),
  "jax-js 0.1": await gzip(`${folder}/jax.js`),
};

const server = await serve();
const browser = await open();
const lines = [`In Chromium ${browser.version()} on SwiftShader, a CPU; minima in turns, ${new Date().toISOString().slice(0, 10)}.`, ""];
try {
  lines.push("| library | kB gzip |", "|---|---:|");
  for (const [name, size] of Object.entries(sizes)) lines.push(`| ${name} | ${(size / 1000).toFixed(0)} |`);
  for (const [count, tensors, rounds] of [[1_050_000, 148, 12], [8_400_000, 148, 6], [8_400_000, 1, 6]]) {
    const { page } = await pageOf(browser);
    await page.goto(`${server.address}bench/index.html`);
    await page.waitForFunction(() => window.libraries, null, { timeout: 60_000 });
    const names = await page.evaluate(() => window.libraries);
    const { parameters, rows, failed } = await page.evaluate((arguments_) => window.compare(...arguments_), [count, tensors, rounds, names]);
    await page.context().close();
    lines.push("", `AdamW, ${parameters.toLocaleString("en")} parameters in ${tensors} tensor(s)`, "");
    lines.push("| library | ms a step | times ours | host ms | dispatches | theta[0] |", "|---|---:|---:|---:|---:|---:|");
    const ours = rows.find(({ name }) => name === "wgpu-optim").milliseconds;
    const right = rows.find(({ name }) => name === "wgpu-optim").first;
    for (const { name, milliseconds, host, dispatches, first } of rows) {
      if (first !== null && !Number.isNaN(first) && Math.abs(first / right - 1) > 0.01) {
        lines.push(`| ${name} | does not train: theta[0] is ${first.toExponential(3)} | | | ${dispatches} | |`);
        continue;
      }
      const cells = [milliseconds.toFixed(1), (milliseconds / ours).toFixed(2), host.toFixed(2), dispatches, first === null || Number.isNaN(first) ? "" : first.toExponential(3)];
      lines.push(`| ${name} | ${cells.join(" | ")} |`);
    }
    for (const [name, reason] of Object.entries(failed)) lines.push(`| ${name} | ${reason} | | | | |`);
  }
  const { page } = await pageOf(browser);
  await page.goto(`${server.address}bench/index.html`);
  await page.waitForFunction(() => window.libraries, null, { timeout: 60_000 });
  const error = await page.evaluate(() => window.shareBuffers()).catch((error) => String(error));
  lines.push("", `A variable of tfjs's trained in its own buffer ends ${error} from where it should.`);
} finally {
  await browser.close();
  server.stop();
}
const text = `${lines.join("\n")}\n`;
console.log(text);
if (process.argv.includes("--out")) await writeFile(out, text);
