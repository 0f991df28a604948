# Sourced by scripts, after `cannot REASON` was defined: installs what they need where it is missing.

export PATH="$PWD/target/tools/bin:$PATH"

# need_packages COMMAND=PACKAGE ...: with apt.
need_packages() {
    local missing=() pair
    for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}"); done
    [ ${#missing[@]} != 0 ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || cannot "install ${missing[*]}"
    echo "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        cannot "${missing[*]} cannot be installed"
}

# Chromium, or what CHROMIUM says.
need_chromium() {
    command -v google-chrome >/dev/null || [ -n "${CHROMIUM:-}" ] || need_packages chromium=chromium
}

# The tool must be of the version that the module is built with.
need_wasm_bindgen() {
    local version
    version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
    [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ] || return 0
    echo "installing wasm-bindgen $version"
    # Without --locked: its lock file does not resolve.
    cargo install --quiet --root target/tools --version "$version" wasm-bindgen-cli || cannot "no wasm-bindgen $version"
}

# Slang's compiler reads HLSL. Its package for Python holds it; nothing of Python is used.
need_slang() {
    command -v slangc >/dev/null && return 0
    echo "installing Slang"
    local folder=target/tools/slang version=1.3.22
    need_packages python3=python3 pip3=python3-pip
    rm -rf "$folder" && mkdir -p "$folder" target/tools/bin
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$folder" "slangtorch==$version" || cannot "no Slang"
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    chmod +x "$folder/slangtorch/bin/slangc"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$PWD/$folder/slangtorch/bin" "$PWD/$folder/slangtorch/bin/slangc" \
        >target/tools/bin/slangc
    chmod +x target/tools/bin/slangc
}
