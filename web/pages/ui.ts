// Small things that every view is made of.

/** A view that is open. */
export interface View {
  close(): void;
}

/** An element with properties and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  children: (Node | string)[] = [],
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** A slider with its value beside it. */
export function slider(
  name: string,
  { low, high, value, log = false, whole = false, unit = "" }: { low: number; high: number; value: number; log?: boolean; whole?: boolean; unit?: string },
  change: (value: number) => void,
): HTMLElement {
  const [to, from] = log ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const input = element("input", { type: "range", min: "0", max: "1000" });
  input.value = String(Math.round((1000 * (to(value) - to(low))) / (to(high) - to(low))));
  const shown = element("output", {});
  const show = (value: number) => {
    shown.textContent = (whole ? String(value) : String(Number(value.toPrecision(3)))) + unit;
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  show(value);
  let timer = 0;
  input.addEventListener("input", () => {
    const exact = from(to(low) + (Number(input.value) / 1000) * (to(high) - to(low)));
    const value = whole ? Math.round(exact) : exact;
    show(value);
    clearTimeout(timer);
    timer = window.setTimeout(() => change(value), 60);
  });
  return element("label", { className: "slider" }, [element("span", {}, [name]), input, shown]);
}

/** One of several. */
export function choice(name: string, options: [string, string][], value: string, change: (value: string) => void): HTMLElement {
  const select = element("select", {}, options.map(([value, text]) => element("option", { value }, [text])));
  select.value = value;
  select.addEventListener("change", () => change(select.value));
  return element("label", { className: "choice" }, [element("span", {}, [name]), select]);
}

/** A table; cells that are numbers stand right. */
export function table(head: string[], rows: (string | number)[][]): HTMLTableElement {
  const kind = (value: string | number | undefined) => (typeof value === "number" || /^[\d.,]/.test(value ?? "") ? "number" : "");
  const cell = (value: string | number) => element("td", { className: kind(value) }, [String(value)]);
  const heading = (text: string, column: number) => element("th", { scope: "col", className: kind(rows[0]?.[column]) }, [text]);
  return element("table", {}, [
    element("thead", {}, [element("tr", {}, head.map(heading))]),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map(cell)))),
  ]);
}

/** Offers a file for download. */
export function download(name: string, type: string, text: string): void {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Lets the page draw, and the visitor click. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
