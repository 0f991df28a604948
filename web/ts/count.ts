// Learns how many steps the device has taken, without that anybody waits.
//
// A step that asks copies the count into a word of its own, in the page's encoder. Nobody knows when that is submitted,
// and a buffer that is being mapped may not be in a submit. So the words are read by a copy of their own, four bytes each,
// into a buffer that no encoder of the page's knows.

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
  #questions: Question[] = [];
  #answers: GPUBuffer | undefined;
  #reading = false;
  /** Of which run the questions are. */
  #run = 0;
  #tell: (recorded: number, count: number) => void;

  constructor(device: GPUDevice, label: string, tell: (recorded: number, count: number) => void) {
    this.#device = device;
    this.#label = `${label}: count`;
    this.#tell = tell;
  }

  /** Records a copy of the count. */
  ask(encoder: GPUCommandEncoder, from: GPUBuffer, offset: number, recorded: number): void {
    // A step that was refused may be tried again in the same encoder, which asks already.
    const last = this.#questions.at(-1);
    if (last?.recorded === recorded && last.encoder.deref() === encoder) return;
    // What was never submitted will not answer. It may be still, so its buffer is left to the garbage collector.
    if (this.#questions.length === MOST) this.#questions.shift();
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.#device.createBuffer({ label: this.#label, size: 4, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange())[0] = NOT_YET;
    buffer.unmap();
    encoder.copyBufferToBuffer(from, offset, buffer, 0, 4);
    this.#questions.push({ buffer, recorded, encoder: new WeakRef(encoder) });
  }

  /** Looks whether there are answers to earlier questions; they come in a later turn of the event loop. */
  look(): void {
    if (this.#reading || this.#questions.length === 0) return;
    this.#reading = true;
    const device = this.#device;
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const answers = (this.#answers ??= device.createBuffer({ label: this.#label, size: 4 * MOST, usage }));
    const asked = [...this.#questions];
    const run = this.#run;
    const encoder = device.createCommandEncoder({ label: this.#label });
    asked.forEach(({ buffer }, index) => encoder.copyBufferToBuffer(buffer, 0, answers, 4 * index, 4));
    device.queue.submit([encoder.finish()]);
    answers
      .mapAsync(GPUMapMode.READ)
      .then(() => {
        const words = new Uint32Array(answers.getMappedRange()).slice();
        answers.unmap();
        const known = asked.filter((_, index) => words[index] !== NOT_YET);
        const newest = known.at(-1);
        if (newest && run === this.#run) this.#tell(newest.recorded, words[asked.indexOf(newest)]!);
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
