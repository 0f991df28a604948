#!/usr/bin/env bash
# A step through the C++ executor on Vulkan and through the one on wgpu, in turns, on the same device.
#
#   capi-bench.sh [PART OF A DEVICE'S NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
device=${1:-}
out=$PWD/target/capi
capi/install.sh "$out"
cmake -S capi/examples/vulkan -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$out" >/dev/null
cmake --build "$out/build" >/dev/null
cargo build --release --quiet --example step_time

for case in "8388608 1 1" "8388608 1000 16" "1000000 1000 16"; do
    echo "AdamW, parameters, tensors, groups: $case"
    for _ in 1 2 3 4 5 6 7; do
        # shellcheck disable=SC2086
        echo "C++  $("$out/build/step_time" $case "$device")"
        # shellcheck disable=SC2086
        echo "wgpu $(target/release/examples/step_time $case "$device")"
    done | awk '{ device[$1, ++n[$1]] = $2; host[$1, n[$1]] = $7; print }
        END {
            for (i = 1; i <= n["wgpu"]; i++) ratio[i] = device["C++", i] / device["wgpu", i]
            # The median of seven.
            for (i = 1; i <= 7; i++) for (j = i + 1; j <= 7; j++) if (ratio[j] < ratio[i]) { t = ratio[i]; ratio[i] = ratio[j]; ratio[j] = t }
            printf "C++ / wgpu on the device, median of 7 turns: %.3f [%.3f, %.3f]\n", ratio[4], ratio[2], ratio[6]
        }'
done
