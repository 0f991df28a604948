#!/usr/bin/env bash
# Makes out/wgpu-optim-bundle.tar.xz: what measures and checks another machine of this kind, which needs a Vulkan loader
# and driver and nothing else. Unpack it there and start ./run.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

bundle=out/wgpu-optim-bundle
rm -rf "$bundle" "$bundle.tar.xz"
mkdir -p "$bundle/bin" "$bundle/golden"

cargo build --release -p wgpu-optim-bench -p wgpu-optim-papers
cargo build --release -p wgpu-optim --features validate --example validate --example replay --example train
cp target/release/bench target/release/papers "$bundle/bin"
cp target/release/examples/{validate,replay,train} "$bundle/bin"

# The tests that hold a GPU against the reference. Cargo says where each one is.
tests=(gpu_matches_reference norms skipping counting shapes invariants boundaries decay)
cargo test --release --no-run --message-format=json $(printf -- '--test %s ' "${tests[@]}") 2>/dev/null |
    python3 -c '
import json, shutil, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["kind"] == ["test"]:
        shutil.copy(message["executable"], sys.argv[1] + "/test-" + message["target"]["name"])
' "$bundle/bin"
strip "$bundle"/bin/*

cp tests/golden/*.safetensors "$bundle/golden"
cp benches/peers/torch_adamw.py scripts/bench-bundle/run.sh scripts/bench-bundle/README.md "$bundle"
chmod +x "$bundle/run.sh"
# A dictionary that holds all of it: the programs share most of what they are.
tar -C out -cf - wgpu-optim-bundle | xz -T1 --lzma2=preset=6,dict=128MiB >"$bundle.tar.xz"
size=$(stat -c %s "$bundle.tar.xz")
echo "$bundle.tar.xz: $((size >> 20)) MiB"
if [ "$size" -gt $((40 << 20)) ]; then
    echo "it is over 40 MiB" >&2
    exit 1
fi
