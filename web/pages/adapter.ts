import { isSoftware } from "../ts/index.js";

/** What the browser tells of an adapter. */
export function nameOf({ info }: GPUAdapter): string {
  const words = [info.vendor, info.architecture, info.device, info.description].filter(Boolean);
  const name = words.length > 0 ? words.join(" ") : "an adapter without a name";
  return isSoftware(info) ? `${name}: a CPU that plays a GPU` : name;
}
