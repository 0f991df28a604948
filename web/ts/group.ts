// A parameter group whose options read and write through to the core.

import type { RuleOptions } from "./types.js";

/** A parameter group: its options can be read and set, and hold from the next step on. */
export type Group = RuleOptions & { readonly name: string };

/** One that reads all options by `read` and changes some by `change`. */
export function liveGroup(name: string, read: () => RuleOptions, change: (options: RuleOptions) => void): Group {
  return new Proxy({ name } as Group, {
    get: (_, option) => (option === "name" ? name : typeof option === "string" ? read()[option] : undefined),
    has: (_, option) => option === "name" || option in read(),
    ownKeys: () => ["name", ...Object.keys(read())],
    getOwnPropertyDescriptor: (_, option) => ({
      value: option === "name" ? name : read()[option as string],
      configurable: option !== "name",
      enumerable: true,
      writable: option !== "name",
    }),
    set: (_, option, value) => {
      change({ [String(option)]: value });
      return true;
    },
  });
}
