// The pages: one device, one view at a time, chosen by the address.

import { isSoftware } from "../ts/index.js";
import { nameOf } from "./adapter.js";
import { checkView } from "./check.js";
import { numbersView } from "./numbers.js";
import { race } from "./race.js";
import { trainView } from "./train.js";
import { element } from "./ui.js";
import type { View } from "./ui.js";

type Make = (device: GPUDevice, root: HTMLElement, shared: URLSearchParams, adapter: GPUAdapter) => View;

const views: Record<string, { title: string; make: Make }> = {
  race: { title: "Race", make: race },
  train: { title: "Train", make: trainView },
  check: { title: "Check my GPU", make: checkView },
  numbers: { title: "Numbers", make: numbersView },
};

const main = document.querySelector<HTMLElement>("#view")!;
let open: View | undefined;

function explain(title: string, ...paragraphs: string[]): void {
  open?.close();
  open = undefined;
  const text = paragraphs.map((paragraph) => element("p", {}, [paragraph]));
  main.replaceChildren(element("section", { className: "explain bad", role: "alert" }, [element("h2", {}, [title]), ...text]));
}

async function start(): Promise<void> {
  if (!navigator.gpu) {
    return explain(
      "This browser has no WebGPU",
      "Everything here runs on the GPU of this device, through WebGPU. Chrome and Edge have it since version 113, Safari since 26, Firefox since 141 on Windows and 145 on macOS.",
      "On Linux, start Chrome with --enable-unsafe-webgpu --enable-features=Vulkan. A page that was opened from a file, or over http from another machine, has no WebGPU either: use https or localhost.",
    );
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    return explain(
      "WebGPU finds no GPU",
      "The browser has WebGPU and gives no adapter: the driver may be on its list of those that do not work, or graphics acceleration is switched off in its settings. chrome://gpu or about:support say which.",
    );
  }
  const timestamps: GPUFeatureName[] = adapter.features.has("timestamp-query") ? ["timestamp-query"] : [];
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: timestamps,
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  void device.lost.then(({ message, reason }) => {
    explain(
      "The GPU's device was lost",
      `The browser says: ${(message || reason).replace(/\.$/, "")}. What was trained is gone; load the page again to begin anew.`,
    );
  });
  const line = document.querySelector<HTMLElement>("#adapter")!;
  line.textContent = nameOf(adapter);
  line.classList.toggle("software", isSoftware(adapter.info));
  // For tests, and for the curious.
  Object.assign(window, { device });

  const show = () => {
    const [name = "", query = ""] = location.hash.slice(1).split("?");
    const chosen = name in views ? name : "race";
    for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
      if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    open?.close();
    const root = element("div", { id: `view-${chosen}` });
    main.replaceChildren(root);
    open = views[chosen]!.make(device, root, new URLSearchParams(query), adapter);
  };
  const links = Object.entries(views).map(([name, { title }]) => element("a", { href: `#${name}` }, [title]));
  document.querySelector("nav")!.replaceChildren(...links);
  addEventListener("hashchange", show);
  show();
}

start().catch((error: unknown) => explain("This did not work", String(error instanceof Error ? error.message : error)));
