#!/usr/bin/env bash
# The C library and what is exported, held against every claim about them: hostile callers under AddressSanitizer, other
# compilers, the C++ program on Vulkan under the validation layers, and its bits against those of the executor on wgpu.
# Installs what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "the C library was not tested: $*" >&2
    exit 1
}

. scripts/tools.sh
# The GL adapter warns without it.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
need_packages cmake=cmake c++=g++ make=make pkg-config=pkg-config glslangValidator=glslang-tools spirv-val=spirv-tools
# Not commands: what is asked for is never there.
[ -e /usr/include/vulkan/vulkan.h ] || need_packages -=libvulkan-dev
find /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan -name VkLayer_khronos_validation.json 2>/dev/null | grep . >/dev/null ||
    need_packages -=vulkan-validationlayers
need_slang

# Those of `make cargo-test`, which has built most of it.
features=validate,export,checkpoint

echo "== what is exported, read by other compilers"
REQUIRE_VALIDATORS=1 cargo test --release --features $features --test exported

echo "== hostile callers"
host=$(rustc -vV | sed -n 's/^host: //p')
if [ -e "$(rustc --print sysroot)/lib/rustlib/$host/lib/librustc-stable_rt.asan.a" ]; then
    # Unoptimised builds take a third of the time. The switch is one of Rust's unstable ones.
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
    FUZZ_SEEDS=${FUZZ_SEEDS:-5000} cargo test -p wgpu-optim-capi --target "$host" --target-dir target/asan
    unset RUSTC_BOOTSTRAP RUSTFLAGS
else
    echo "passed over: this Rust has no AddressSanitizer"
    cargo test --release -p wgpu-optim-capi
fi

echo "== from plain C, by pkg-config"
out=$PWD/target/capi
capi/install.sh "$out"
export PKG_CONFIG_PATH=$out/lib/pkgconfig
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror capi/tests/abi.c -o "$out/abi" $(pkg-config --cflags --libs wgpu_optim) -Wl,-rpath,"$out/lib"
"$out/abi"

echo "== the C++ program, by CMake"
example=$PWD/capi/examples/vulkan
cmake -S "$example" -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$out" >/dev/null
cmake --build "$out/build" >/dev/null
cargo build --release --quiet --features $features --example same_bits --example interop_vulkan
# Part of a device's name; the first one by default.
device=${WGPU_OPTIM_DEVICE:-}
# Gradients where a vec4 fits, and where it does not; a rule with norms.
for run in "adamw 29" "adamw 30" "lamb 29"; do
    read -r optimizer gap <<<"$run"
    "$out/build/heart" --device "$device" --optimizer "$optimizer" --gap "$gap" --steps 200 --validate \
        --picture "$out/heart.ppm" --record "$out/run.bin" >"$out/log" || cannot "$(cat "$out/log")"
    sed -n '1p; $p' "$out/log"
    target/release/examples/same_bits "$out/run.bin" "$(sed -n '1s/^[a-z]* on //p' "$out/log")"
done

# The same without the optimizer's barriers: the layers must complain, or they were not there.
careless=$out/careless
mkdir -p "$careless"
cp "$example"/*.hpp "$example/main.cpp" "$out/build"/*.h "$careless"
sed -i 's/^    vkCmdPipelineBarrier/    if (false) &/' "$careless/device.hpp"
# shellcheck disable=SC2046
c++ -std=c++17 "$careless/main.cpp" -o "$careless/heart" $(pkg-config --cflags --libs wgpu_optim) -lvulkan -Wl,-rpath,"$out/lib"
if "$careless/heart" --device "$device" --steps 1 --validate --picture "$careless/heart.ppm" >"$careless/log" 2>&1; then
    cannot "the validation layers do not see a missing barrier"
fi
grep -q "SYNC-HAZARD" "$careless/log" || cannot "the validation layers are not there: $(tail -3 "$careless/log")"
echo "a missing barrier is seen"

echo "== native handles from Rust"
target/release/examples/interop_vulkan
