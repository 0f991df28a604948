#!/usr/bin/env bash
# Trains the digits network on so many ranks of this machine: scripts/mpirun.sh 4 [options of train_ranks]
set -euo pipefail
cd "$(dirname "$0")/.."
ranks=${1:?how many ranks}
shift
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
# Containers run as root, and know no shared memory of other processes.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
cargo build --release -p wgpu-optim-mpi --example train_ranks
mpirun --oversubscribe -n "$ranks" target/release/examples/train_ranks "$@"
