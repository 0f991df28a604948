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

missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || [ -n "${CHROMIUM:-}" ] || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} != 0 ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "install ${missing[*]}"
    echo "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        cannot "${missing[*]} cannot be installed"
fi

# The tool must be of the version that the module is built with.
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
export PATH="$PWD/target/tools/bin:$PATH"
if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    echo "installing wasm-bindgen $version"
    # Without --locked: its lock file does not resolve.
    cargo install --quiet --root target/tools --version "$version" wasm-bindgen-cli || cannot "no wasm-bindgen $version"
fi
(cd web-check && npm ci --silent --no-audit --no-fund) || cannot "no playwright-core"

wasm_cargo build --release -p web-check || cannot "no wasm32"
out=target/web-check
rm -rf "$out"
wasm-bindgen --target web --no-typescript --out-dir "$out" target/wasm/wasm32-unknown-unknown/release/web_check.wasm
cp web-check/page/* "$out"
node web-check/run.js "$out" "$@"
