// What every view of the pages must do. Screenshots of what was seen are in target/web-shots.

import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { open, pageOf } from "./browser.js";

const shots = join(fileURLToPath(import.meta.url), "../../../target/web-shots");
mkdirSync(shots, { recursive: true });

const VIEWS = ["race", "train", "check", "numbers"];
const MINUTE = 60_000;

/** Calls `trial(name, run)` for each claim; `run` returns what is wrong, or nothing. */
export async function views(browser, address, trial) {
  /** A claim about a view, in a page of its own that must print no error. */
  const view = (name, hash, run, options = {}) =>
    trial(name, async () => {
      const { page, errors } = await pageOf(browser, options);
      try {
        await page.goto(`${address}pages/#${hash}`);
        const wrong = await run(page);
        return [wrong, ...errors].filter(Boolean).join("\n");
      } finally {
        await page.context().close();
      }
    });
  const steps = (page, least) =>
    page.waitForFunction((least) => Number(document.querySelector("main > div")?.dataset.steps) >= least, least, { timeout: 3 * MINUTE });
  const losses = (page) => page.$$eval(".legend li", (all) => all.map((li) => Number(li.dataset.loss)));
  const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });

  await view("the race goes downhill, for every rule", "race", async (page) => {
    await steps(page, 1);
    const before = await losses(page);
    await steps(page, 60);
    const after = await losses(page);
    await shot(page, "race");
    if (after.length !== 4 || !after.every((loss, i) => loss < 0.2 * before[i])) return `${before} became ${after}`;
  });

  for (const surface of ["beale", "himmelblau", "saddle", "quadratic", "amsgrad", "heavy"]) {
    await view(`the race runs on ${surface}, from a shared link`, `race?surface=${surface}&rules=adam;madam&particles=400&beta2=0.9&seed=7`, async (page) => {
      await steps(page, 24);
      const now = await losses(page);
      const chosen = await page.$eval(".choice select", (select) => select.value);
      if (chosen !== surface || now.length !== 2 || !now.every(Number.isFinite)) return `${chosen}: ${now}`;
      const said = await page.$eval(".status", (status) => status.textContent);
      if (said) return said;
    });
  }

  await view("a rate that a rule refuses stops the race with its reason, a pause stops it, and hidden tabs rest", "race?particles=200&rules=adam", async (page) => {
    await steps(page, 1);
    const now = () => page.$eval("main > div", (root) => Number(root.dataset.steps));
    const rests = async (what) => {
      await page.waitForTimeout(500);
      const before = await now();
      await page.waitForTimeout(700);
      return (await now()) === before ? "" : `${what}: went on`;
    };
    await page.getByText("Pause", { exact: true }).click();
    let wrong = await rests("paused");
    await page.getByText("Go on", { exact: true }).click();
    await steps(page, (await now()) + 6);
    const hide = (hidden) =>
      page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await hide(true);
    wrong ||= await rests("hidden");
    await hide(false);
    await steps(page, (await now()) + 6);
    return wrong;
  });

  await view("training passes 90 % in 300 steps, and a drawn 0 is read", "train", async (page) => {
    await page.waitForFunction(() => Number(document.querySelector("#view-train")?.dataset.accuracy) > 0.9, null, { timeout: 4 * MINUTE });
    const at = await page.$eval("#view-train", (root) => Number(root.dataset.steps));
    if (at > 300) return `only after ${at} steps`;
    const box = await page.locator(".pad").boundingBox();
    const point = (i) => [box.x + box.width * (0.5 + 0.22 * Math.sin(i / 4)), box.y + box.height * (0.5 - 0.33 * Math.cos(i / 4))];
    await page.mouse.move(...point(0));
    await page.mouse.down();
    for (let i = 1; i <= 26; i++) await page.mouse.move(...point(i));
    await page.mouse.up();
    await page.waitForFunction(() => document.querySelector(".answer").dataset.digit, null, { timeout: MINUTE });
    await shot(page, "train");
    const digit = await page.$eval(".answer", (answer) => answer.dataset.digit);
    return digit === "0" ? "" : `a 0 is read as ${digit}: ${await page.$eval(".answer", (answer) => answer.textContent)}`;
  });

  await view("the check finds every rule right, and its JSON downloads", "check", async (page) => {
    await page.getByText("Check every rule", { exact: true }).click();
    await page.waitForFunction(() => document.querySelector("#view-check").dataset.done, null, { timeout: 5 * MINUTE });
    await shot(page, "check");
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByText("Download JSON", { exact: true }).click()]);
    const { version, adapters } = JSON.parse(await readFile(await saved.path(), "utf8"));
    const [{ verdicts, probe, device_type, limits }] = adapters;
    if (version !== 2 || verdicts.length !== 31 || !verdicts.every(({ violation, words }) => !violation && words > 10_000)) return "verdicts";
    if (!probe.keeps_writes_inside || device_type !== "Cpu" || !limits.software) return `${JSON.stringify(probe)}, ${device_type}`;
    if ((await page.$eval("#view-check", (root) => root.dataset.done)) !== "good") return "not all right";
  });

  await view("the numbers come, and go as Markdown", "numbers", async (page) => {
    await page.getByText("Measure", { exact: true }).click();
    await page.waitForFunction(() => document.querySelector("#view-numbers").dataset.done, null, { timeout: 5 * MINUTE });
    await shot(page, "numbers");
    await page.getByText("Copy as Markdown", { exact: true }).click();
    const lines = (await page.$eval("#view-numbers", (root) => root.dataset.markdown)).split("\n");
    if (lines.length !== 2 + 2 + 31 || !/^\| adam \| [\d.]+ \| [\d.]+ \| [\d.]+ \| 1 \|$/m.test(lines.join("\n"))) return lines.join("\n");
    if (!lines[0].includes("a CPU that plays a GPU")) return lines[0];
  });

  await view("a device that is lost in mid-race is named", "race?particles=200", async (page) => {
    await steps(page, 6);
    await page.evaluate(() => window.device.destroy());
    await page.waitForSelector(".explain", { timeout: MINUTE });
    const text = await page.$eval(".explain", (explain) => explain.textContent);
    return text.includes("was lost") && text.includes("load the page again") ? "" : text;
  });

  await trial("a page without WebGPU says what to do", async () => {
    const { page, errors } = await pageOf(browser);
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
    await page.goto(`${address}pages/`);
    await page.waitForSelector(".explain");
    await shot(page, "without-webgpu");
    const text = await page.$eval(".explain", (explain) => explain.textContent);
    await page.context().close();
    return [text.includes("no WebGPU") && text.includes("Chrome") ? "" : text, ...errors].filter(Boolean).join("\n");
  });

  await trial("a browser without an adapter says what to do", async () => {
    const other = await open({ webgpu: false });
    const { page, errors } = await pageOf(other);
    await page.goto(`${address}pages/`);
    await page.waitForSelector(".explain");
    const text = await page.$eval(".explain", (explain) => explain.textContent);
    await other.close();
    return [/no GPU|no WebGPU/.test(text) ? "" : text, ...errors].filter(Boolean).join("\n");
  });

  await trial("every view fits a phone, in the dark, and is reached by the keyboard", async () => {
    const { page, errors } = await pageOf(browser, { viewport: { width: 390, height: 800 }, colorScheme: "dark" });
    await page.goto(`${address}pages/`);
    await page.waitForSelector("nav a");
    const wrong = [];
    // The link that skips to the content comes first.
    await page.keyboard.press("Tab");
    for (const name of VIEWS) {
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await page.waitForSelector(`#view-${name}`, { timeout: MINUTE }).catch(() => wrong.push(`${name} is not reached`));
      await page.waitForTimeout(1500);
      const [content, width] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
      if (content > width) wrong.push(`${name} is ${content} wide`);
      await shot(page, `${name}-phone`);
    }
    await page.context().close();
    return [...wrong, ...errors].join("\n");
  });

  await trial("the page that the README begins with draws a heart", async () => {
    const { page, errors } = await pageOf(browser);
    await page.goto(`${address}examples/heart.html`);
    // Whether what is drawn lies on the heart's line, and all of the line is drawn.
    const drawn = () => {
      const { data } = document.querySelector("canvas").getContext("2d").getImageData(0, 0, 400, 400);
      const near = (x, y) => (u, v) => Math.abs(x - u) < 5 && Math.abs(y - v) < 5;
      const line = Array.from({ length: 200 }, (_, i) => {
        const t = (i / 200) * 2 * Math.PI;
        const y = (13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t)) / 16;
        return [200 + 152 * Math.sin(t) ** 3, 200 - 152 * y];
      });
      const ink = [];
      for (let i = 0; i < 160_000; i++) if (data[4 * i + 3] > 0) ink.push([i % 400, Math.floor(i / 400)]);
      const on = ink.filter(([x, y]) => line.some(([u, v]) => near(x, y)(u, v))).length;
      const full = line.filter(([u, v]) => ink.some(([x, y]) => near(x, y)(u, v))).length;
      return ink.length > 500 && on > 0.97 * ink.length && full > 195;
    };
    await page.waitForFunction(drawn, null, { timeout: 2 * MINUTE, polling: 1000 });
    await shot(page, "heart");
    await page.context().close();
    const lines = async (file) => (await readFile(join(fileURLToPath(import.meta.url), "../..", file), "utf8")).split("\n").filter((line) => !line.includes("importmap"));
    const readme = (await lines("README.md")).join("\n");
    const same = readme.includes((await lines("examples/heart.html")).join("\n").trim());
    return [same ? "" : "the README has another page", ...errors].filter(Boolean).join("\n");
  });

  await view("who wants less motion starts the race", "race?particles=200", async (page) => {
    await page.waitForTimeout(1500);
    if (await page.$eval("main > div", (root) => root.dataset.steps)) return "it runs by itself";
    await page.getByText("Start", { exact: true }).click();
    await steps(page, 6);
  }, { reducedMotion: "reduce" });
}
