// Serves the pages: node serve.js [PORT]. Any server of plain files will do as well.

import { serve } from "./test/browser.js";

const { address } = await serve(Number(process.argv[2] ?? 8080));
console.log(`the pages are at ${address}pages/`);
