# Sourced by scripts that build for the browser: `wasm_cargo COMMAND ...` runs cargo for wasm32-unknown-unknown, and fails
# where that can not be had.
#
# Takes the rustup target where it is installed or can be added; else Debian's rustc-web, which builds the standard
# library itself. Output is in target/wasm/wasm32-unknown-unknown.

wasm_target=wasm32-unknown-unknown

wasm_has_target() { [ -d "$(rustc --print sysroot)/lib/rustlib/$wasm_target/lib" ]; }

wasm_cargo() {
    if ! wasm_has_target && command -v rustup >/dev/null; then
        echo "adding the Rust target $wasm_target"
        rustup target add "$wasm_target" || true
    fi
    if wasm_has_target; then
        cargo "$@" --target "$wasm_target" --target-dir target/wasm
        return
    fi
    # Debian's packages of the Rust that its browsers are built with.
    local packages=(rustc-web cargo-web rust-web-src)
    if ! dpkg --status "${packages[@]}" >/dev/null 2>&1 && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing ${packages[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || true
    fi
    if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
        echo "wasm32 cannot be built: add the target with 'rustup target add $wasm_target'" >&2
        return 1
    fi
    # rust-lld is rustup's; only linking needs it.
    local tools
    tools="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
    env -u RUSTC -u RUSTUP_TOOLCHAIN RUSTC_BOOTSTRAP=1 PATH="/usr/bin:$PATH:$tools" \
        /usr/bin/cargo "$@" --target "$wasm_target" --target-dir target/wasm -Z build-std=std,panic_abort
}
