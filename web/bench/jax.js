// What a page bundles of jax-js.
export { blockUntilReady, defaultDevice, init, jit, numpy } from "@jax-js/jax";
