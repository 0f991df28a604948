// The recorded trajectories of tests/golden, as a page can take them.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(fileURLToPath(import.meta.url), "../../../tests/golden");
const arrays = { F32: Float32Array, F64: Float64Array };

/** One file: the rule with its options, and of each tensor shape, first values, gradients and parameters, step by step. */
function parse(name, bytes) {
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: about, ...entries } = JSON.parse(bytes.toString("utf8", 8, end));
  const values = (key) => {
    const { dtype, data_offsets: range } = entries[key];
    const [from, to] = range.map((at) => end + at);
    return Array.from(new arrays[dtype](bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + to)));
  };
  const tensors = JSON.parse(about.tensors).map((tensor) => ({
    name: tensor,
    shape: entries[`init.${tensor}`].shape,
    init: values(`init.${tensor}`),
    grads: values(`grad.${tensor}`),
    params: values(`param.${tensor}`),
  }));
  return { name, optimizer: about.optimizer, options: JSON.parse(about.options), lr: JSON.parse(about.lr), tensors };
}

/** All of them. */
export async function recordings() {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".safetensors")).sort();
  return Promise.all(names.map(async (name) => parse(name, await readFile(join(folder, name)))));
}
