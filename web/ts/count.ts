// Learns how many steps the device has taken, without that anybody waits: one count for all, or one for each tensor.
//
// A step that asks copies the counts into a buffer of its own, in the page's encoder. Nobody knows when that is submitted,
// and a buffer that is being mapped may not be in a submit. So they are read by a copy of their own, a few bytes each,
// into a buffer that no encoder of the page's knows.

import type { Range } from "./types.js";

/** No count is that high. */
const NOT_YET = 0xffffffff;
const MOST = 8;

interface Question {
  buffer: GPUBuffer;
  /** The number of the step before which the count was copied. */
  recorded: number;
  /** Where it was recorded. */
  encoder: WeakRef<GPUCommandEncoder>;
}

export class CountReader {
  #device: GPUDevice;
  #label: string;
  #counts: readonly Range[];
  #questions: Question[] = [];
  #answers: GPUBuffer | undefined;
  #reading = false;
  /** Of which run the questions are. */
  #run = 0;
  #tell: (recorded: number, counts: Uint32Array) => void;

  constructor(device: GPUDevice, label: string, counts: readonly Range[], tell: (recorded: number, counts: Uint32Array) => void) {
    this.#device = device;
    this.#label = `${label}: counts`;
    this.#counts = counts;
    this.#tell = tell;
  }

  /** Bytes of an answer. */
  get #size(): number {
    return 4 * this.#counts.length;
  }

  /** Records a copy of the counts. */
  ask(encoder: GPUCommandEncoder, recorded: number): void {
    // A step that was refused may be tried again in the same encoder, which asks already.
    const last = this.#questions.at(-1);
    if (last?.recorded === recorded && last.encoder.deref() === encoder) return;
    // What was never submitted will not answer. It may be still, so its buffer is left to the garbage collector.
    if (this.#questions.length === MOST) this.#questions.shift();
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.#device.createBuffer({ label: this.#label, size: this.#size, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange()).fill(NOT_YET);
    buffer.unmap();
    this.#counts.forEach((count, index) => encoder.copyBufferToBuffer(count.buffer, count.offset, buffer, 4 * index, 4));
    this.#questions.push({ buffer, recorded, encoder: new WeakRef(encoder) });
  }

  /** Looks whether there are answers to earlier questions; they come in a later turn of the event loop. */
  look(): void {
    if (this.#reading || this.#questions.length === 0) return;
    this.#reading = true;
    const device = this.#device;
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const answers = (this.#answers ??= device.createBuffer({ label: this.#label, size: this.#size * MOST, usage }));
    const asked = [...this.#questions];
    const run = this.#run;
    const encoder = device.createCommandEncoder({ label: this.#label });
    asked.forEach(({ buffer }, index) => encoder.copyBufferToBuffer(buffer, 0, answers, this.#size * index, this.#size));
    device.queue.submit([encoder.finish()]);
    answers
      .mapAsync(GPUMapMode.READ)
      .then(() => {
        const words = new Uint32Array(answers.getMappedRange()).slice();
        answers.unmap();
        const answer = (index: number) => words.subarray(this.#counts.length * index, this.#counts.length * (index + 1));
        // One encoder carries all of an answer.
        const known = asked.filter((_, index) => answer(index)[0] !== NOT_YET);
        const newest = known.at(-1);
        if (newest && run === this.#run) this.#tell(newest.recorded, answer(asked.indexOf(newest)));
        this.#questions = this.#questions.filter((question) => !known.includes(question));
        for (const { buffer } of known) buffer.destroy();
        this.#reading = false;
      })
      // A lost device says so elsewhere.
      .catch(() => undefined);
  }

  /** What was asked was of another run. */
  forget(): void {
    this.#run += 1;
    this.#questions = [];
  }

  destroy(): void {
    this.#answers?.destroy();
  }
}
