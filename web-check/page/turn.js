// The import `turn` of WebAssembly: suspends it for one turn of the event loop.

const channel = new MessageChannel();
let resume;
channel.port1.onmessage = () => resume();

export const turn = new WebAssembly.Suspending(
  () => new Promise((resolve) => {
    resume = resolve;
    channel.port2.postMessage(null);
  }),
);
