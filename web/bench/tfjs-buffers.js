// tfjs and wgpu-optim on one device and one buffer: tfjs differentiates, wgpu-optim updates the variable where it lies.

import { createOptimizer } from "wgpu-optim";

/** Trains a variable of tfjs's; what it became. */
export async function shareBuffers() {
  const tf = await import("./tfjs.js");
  await tf.setBackend("webgpu");
  await tf.ready();
  const device = tf.backend().device;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [param, grad] = [0, 1].map(() => device.createBuffer({ size: 64, usage }));
  // The page's buffer is the variable: nothing is copied, and it stays the page's.
  const variable = tf.variable(tf.tensor({ buffer: param, zeroCopy: true }, [16], "float32"), true, "w");
  const tensors = [{ name: "w", shape: [16], param: { buffer: param }, grad: { buffer: grad } }];
  const optimizer = await createOptimizer(device, { optimizer: "adamw", lr: 0.1, weight_decay: 0, tensors });
  const target = tf.linspace(-1, 1, 16);
  const loss = () => tf.sum(tf.square(tf.sub(variable, target)));
  for (let step = 0; step < 200; step++) {
    const { value, grads } = tf.variableGrads(loss);
    // tfjs makes a buffer for each result, so the gradient is copied once; what tfjs recorded must be submitted first.
    const { buffer, tensorRef } = grads.w.dataToGPU();
    if (tf.backend().commandEncoder) tf.backend().submitQueue();
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, grad, 0, 64);
    optimizer.step(encoder);
    device.queue.submit([encoder.finish()]);
    tf.dispose([value, grads.w, tensorRef]);
  }
  const [got, want] = [await variable.data(), await target.data()];
  optimizer.destroy();
  return Math.max(...got.map((x, i) => Math.abs(x - want[i])));
}
