#!/usr/bin/env bash
# Runs the tests of GPUs in headless Chromium, on the CPU: the files in `tests`, as WebAssembly on WebGPU.
#
#   web-check.sh [PART OF A NAME]
#
# Installs what is missing: Chromium and Node.js with apt, wasm-bindgen with cargo, Playwright with npm. Where that
# cannot be had, says so and succeeds, unless REQUIRE_WASM=1.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/wasm-cargo.sh

cannot() {
    echo "the browser was not checked: $*" >&2
    [ "${REQUIRE_WASM:-0}" != 1 ]
    exit
}

. scripts/tools.sh
need_chromium
need_packages node=nodejs npm=npm
need_wasm_bindgen
(cd web-check && npm ci --silent --no-audit --no-fund) || cannot "no playwright-core"

wasm_cargo build --release -p web-check || cannot "no wasm32"
out=target/web-check
rm -rf "$out"
wasm-bindgen --target web --no-typescript --out-dir "$out" target/wasm/wasm32-unknown-unknown/release/web_check.wasm
cp web-check/page/* "$out"
node web-check/run.js "$out" "$@"
