#!/usr/bin/env bash
# State shared out over MPI ranks: lint, one to four ranks on whatever adapter there is, and the network on ranks.
set -euo pipefail
cd "$(dirname "$0")/.."
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
scripts/setup-adapter.sh --mpi

cargo clippy --release -p wgpu-optim-mpi --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release -p wgpu-optim-mpi --no-deps
cargo test --release -p wgpu-optim-mpi -- --test-threads=1
scripts/mpirun.sh 2 --epochs 1
