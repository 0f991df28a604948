// A pad to draw a digit on, seen as the data's 8 x 8 images are: as large as its ink, 16 steps of grey.

import { element } from "./ui.js";

const SIZE = 280;
/** Half the width of the pen's line. */
const PEN = 12;

export function digitPad(drawn: (image: Float32Array) => void): { root: HTMLElement } {
  const canvas = element("canvas", { className: "pad", width: SIZE, height: SIZE, tabIndex: 0 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Draw a digit here, or choose an example below");
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.lineWidth = 2 * PEN;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  let last: [number, number] | undefined;
  const at = (event: PointerEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  };
  const line = (to: [number, number]) => {
    context.beginPath();
    context.moveTo(...(last ?? to));
    context.lineTo(...to);
    context.stroke();
    last = to;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = undefined;
    line(at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons > 0) line(at(event));
  });
  const seen = () => drawn(reduce(context.getImageData(0, 0, SIZE, SIZE).data));
  canvas.addEventListener("pointerup", seen);
  const clear = element("button", { type: "button" }, ["Clear"]);
  const wipe = () => context.clearRect(0, 0, SIZE, SIZE);
  clear.addEventListener("click", wipe);
  // For who cannot draw.
  const example = element("button", { type: "button" }, ["Write a digit for me"]);
  example.addEventListener("click", () => {
    wipe();
    context.font = `bold ${SIZE * 0.85}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#fff";
    context.fillText(String(Math.floor(Math.random() * 10)), SIZE / 2, SIZE / 2 + 8);
    seen();
  });
  return { root: element("div", {}, [canvas, element("div", { className: "buttons" }, [clear, example])]) };
}

/** The ink's own square, cut into 8 x 8 fields; each is as dark as it is full. */
function reduce(pixels: Uint8ClampedArray): Float32Array {
  const ink = (x: number, y: number) => (x >= 0 && y >= 0 && x < SIZE && y < SIZE ? pixels[4 * (y * SIZE + x) + 3]! / 255 : 0);
  let [left, right, top, bottom] = [SIZE, 0, SIZE, 0];
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      if (ink(x, y) < 0.5) continue;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    }
  }
  const image = new Float32Array(64);
  if (right < left) return image;
  const half = Math.max(right - left, bottom - top, 4 * PEN) / 2 + 1;
  const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
  const fine = 8;
  for (let i = 0; i < 64; i++) {
    let sum = 0;
    for (let j = 0; j < fine * fine; j++) {
      const across = ((i % 8) + ((j % fine) + 0.5) / fine) / 8;
      const down = (Math.floor(i / 8) + (Math.floor(j / fine) + 0.5) / fine) / 8;
      sum += ink(Math.round(middleX + (2 * across - 1) * half), Math.round(middleY + (2 * down - 1) * half));
    }
    image[i] = Math.round((16 * sum) / (fine * fine)) / 16;
  }
  return image;
}
