#!/usr/bin/env bash
# Checks that the library builds for the browser: wasm32 with wgpu's WebGPU backend.
#
# Takes the rustup target where it is installed or can be added; else Debian's rustc-web, which builds
# the standard library itself. Where neither can be had, says so and succeeds, unless REQUIRE_WASM=1.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
check=(check --release --lib --target "$target" --features wgpu/webgpu)

has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }

if ! has_target && command -v rustup >/dev/null; then
    echo "adding the Rust target $target"
    rustup target add "$target" || true
fi
if has_target; then
    exec cargo "${check[@]}"
fi

# Debian's packages of the Rust that its browsers are built with.
packages=(rustc-web cargo-web rust-web-src)
if ! dpkg --status "${packages[@]}" >/dev/null 2>&1 && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "installing ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || true
fi
if dpkg --status "${packages[@]}" >/dev/null 2>&1; then
    # rust-lld is rustup's; only linking needs it.
    tools="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
    export RUSTC_BOOTSTRAP=1 PATH="/usr/bin:$PATH:$tools"
    unset RUSTC RUSTUP_TOOLCHAIN
    exec /usr/bin/cargo "${check[@]}" -Z build-std=std,panic_abort --target-dir target/wasm
fi

echo "wasm32 was not checked: add the target with 'rustup target add $target'" >&2
[ "${REQUIRE_WASM:-0}" != 1 ]
