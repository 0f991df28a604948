#!/usr/bin/env bash
# The papers' experiments with networks: lint, tests, and one experiment in small.
set -euo pipefail
cd "$(dirname "$0")/.."
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
scripts/setup-adapter.sh --networks
cd papers/networks

cargo fmt --check
cargo clippy --release --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
cargo test --release --locked
echo "the papers' networks pass"
