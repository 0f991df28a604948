// What a page bundles of tfjs to train with WebGPU.
import "@tensorflow/tfjs-backend-webgpu";
export * from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
