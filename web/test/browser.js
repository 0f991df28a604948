// Headless Chromium with WebGPU on the CPU (SwiftShader), and a server of plain files.

import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const site = join(fileURLToPath(import.meta.url), "../../site");
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
  ".json": "application/json",
  ".svg": "image/svg+xml",
};

/** Serves the pages; its address, and how to stop. */
export async function serve(port = 0) {
  const server = createServer(async (request, response) => {
    try {
      const path = normalize(new URL(request.url, "http://localhost").pathname);
      const file = join(site, path.endsWith("/") ? `${path}index.html` : path);
      const body = await readFile(file);
      response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}/`, stop: () => server.close() };
}

/** Opens the browser. Without `webgpu` it has none, as many have. */
export async function open({ webgpu = true } = {}) {
  const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  // The last two, so that what is drawn on a canvas comes to the screen; else Chromium loses the device there.
  const gpu = [
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
    "--use-angle=swiftshader",
  ];
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? known.find(existsSync),
    args: ["--no-sandbox", "--disable-background-networking", ...(webgpu ? gpu : ["--disable-features=WebGPU", "--disable-gpu"])],
  });
}

/** A page that must not print an error; its console's errors end up in `errors`. */
export async function pageOf(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  return { page, errors };
}
