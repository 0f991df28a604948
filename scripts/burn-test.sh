#!/usr/bin/env bash
# The bridge to burn: lint, tests with fusion and without, and its examples. burn takes a quarter of an hour to compile.
set -euo pipefail
cd "$(dirname "$0")/../burn"
# The GL adapter warns without it.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}

cargo fmt --check
cargo clippy --release --locked --features checkpoint --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
cargo test --release --locked --features checkpoint
cargo test --release --locked --no-default-features --features checkpoint
cargo run --release --locked --features checkpoint --example digits -- --steps 60
# For a page: built, not run.
if [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
    cargo build --release --locked --features browser --target wasm32-unknown-unknown
fi
echo "the bridge to burn passes"
