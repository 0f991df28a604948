#!/usr/bin/env bash
# Checks that the library builds for the browser: wasm32 with wgpu's WebGPU backend. Where wasm32 cannot be built, says so
# and succeeds, unless REQUIRE_WASM=1.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/wasm-cargo.sh

wasm_cargo check --release --lib --features wgpu/webgpu || [ "${REQUIRE_WASM:-0}" != 1 ]
