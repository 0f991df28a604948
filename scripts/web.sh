#!/usr/bin/env bash
# Builds the package for browsers, web/dist, and the pages around it, web/site.
#
# Installs what is missing: wasm-bindgen with cargo, wasm-opt and the TypeScript compiler with npm.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/wasm-cargo.sh

cannot() {
    echo "the package was not built: $*" >&2
    exit 1
}

. scripts/tools.sh
need_packages node=nodejs npm=npm
need_wasm_bindgen
(cd web && npm ci --silent --no-audit --no-fund) || cannot "no TypeScript"

# core [FEATURES]: into web/ts/core.
core() {
    wasm_cargo build --profile web -p wgpu-optim-web "$@" || cannot "no wasm32"
    rm -rf web/ts/core
    wasm-bindgen --target web --out-dir web/ts/core --out-name core target/wasm/wasm32-unknown-unknown/web/wgpu_optim_web.wasm
    # What every browser with WebGPU has.
    local features=(bulk-memory nontrapping-float-to-int sign-ext mutable-globals reference-types multivalue)
    web/node_modules/.bin/wasm-opt -Oz "${features[@]/#/--enable-}" web/ts/core/core_bg.wasm -o web/ts/core/smaller.wasm
    mv web/ts/core/smaller.wasm web/ts/core/core_bg.wasm
}

rm -rf web/dist web/site
core
web/node_modules/.bin/tsc --project web
cp -r web/ts/core web/dist
cp LICENSE-* web

# The pages' core can hold the device against the reference too.
core --features validate
web/node_modules/.bin/tsc --project web/pages.tsconfig.json
cp -r web/ts/core web/site/ts
cp web/pages/*.html web/pages/*.css data/digits.csv.gz web/site/pages
cp web/test/*.html web/site/test
mkdir -p web/site/examples
cp web/examples/*.html web/site/examples
