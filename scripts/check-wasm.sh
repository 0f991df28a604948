#!/usr/bin/env bash
# Checks that the library builds for the browser, wasm32 with wgpu's WebGPU backend and without wgpu, and runs the tests
# that need no GPU as WebAssembly in Node.js. Where wasm32 cannot be built, says so and succeeds, unless REQUIRE_WASM=1.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/wasm-cargo.sh

cannot() {
    echo "wasm32 was not checked: $*" >&2
    [ "${REQUIRE_WASM:-0}" != 1 ]
    exit
}

wasm_cargo check --release --lib --features wgpu/webgpu || cannot "no wasm32"
wasm_cargo check --release --lib --no-default-features

# Without wgpu there is no naga either.
if cargo tree --quiet -p wgpu-optim --no-default-features -e normal | grep -E "wgpu v|wgpu-core|naga"; then
    echo "the library without its default features depends on wgpu" >&2
    exit 1
fi

. scripts/tools.sh
need_packages node=nodejs
wasm_cargo build --release -p web-check-pure
node web-check/pure/run.mjs target/wasm/wasm32-unknown-unknown/release/web_check_pure.wasm
