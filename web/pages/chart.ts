// Lines over steps, by their logarithm.

export interface Line {
  name: string;
  color: string;
  values: number[];
}

/** Draws lines; `every` is the number of steps from a value to the next. */
export function chart(canvas: HTMLCanvasElement, lines: Line[], every: number): void {
  const scale = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (width === 0 || lines.length === 0) return;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d")!;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const good = lines.flatMap(({ values }) => values).filter((value) => value > 0 && Number.isFinite(value));
  if (good.length === 0) return;
  const low = Math.floor(Math.log10(Math.max(good.reduce((a, b) => Math.min(a, b)), 1e-12)));
  const high = Math.max(Math.ceil(Math.log10(good.reduce((a, b) => Math.max(a, b)))), low + 1);
  const longest = lines.reduce((most, { values }) => Math.max(most, values.length), 2);
  const [left, bottom] = [44, 20];
  const x = (i: number) => left + (i / (longest - 1)) * (width - left - 6);
  const y = (value: number) => 8 + (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (height - bottom - 8);
  const style = getComputedStyle(canvas);
  context.fillStyle = style.color;
  context.strokeStyle = style.getPropertyValue("--line") || "#8888";
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  for (let power = low; power <= high; power += Math.max(1, Math.ceil((high - low) / 6))) {
    context.beginPath();
    context.moveTo(left, y(10 ** power));
    context.lineTo(width - 6, y(10 ** power));
    context.stroke();
    context.fillText(`1e${power}`, 4, y(10 ** power) + 4);
  }
  context.fillText("0", left, height - 5);
  const last = `${(longest - 1) * every} steps`;
  context.fillText(last, width - 6 - context.measureText(last).width, height - 5);
  context.lineWidth = 1.75;
  for (const { color, values } of lines) {
    context.strokeStyle = color;
    context.beginPath();
    values.forEach((value, i) => Number.isFinite(value) && (i === 0 ? context.moveTo(x(i), y(value)) : context.lineTo(x(i), y(value))));
    context.stroke();
  }
}
