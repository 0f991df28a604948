#!/usr/bin/env bash
# Measures and checks this machine: results/results.json, results/results.md and results/share.png. Under eight minutes.
# RUN_ADAPTER chooses adapters by name or backend; all without it. An adapter that gives no device is reported and passed
# over.
set -uo pipefail
cd "$(dirname "$0")"
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp} RUST_BACKTRACE=0
export WGPU_OPTIM_ADAPTER=${RUN_ADAPTER:-}
out=results
mkdir -p "$out/logs"
failed=()

# run NAME SECONDS COMMAND...: no part keeps the others from running.
run() {
    local name=$1 seconds=$2
    shift 2
    local start=$SECONDS
    timeout "$seconds" "$@" >"$out/logs/$name.txt" 2>&1
    local code=$?
    local what="ok"
    if [ "$code" = 124 ]; then
        what="cut off after $seconds s"
    elif [ "$code" != 0 ]; then
        what="exit code $code"
        failed+=("$name")
    fi
    echo "| $name | $what | $((SECONDS - start)) s |" | tee -a "$out/parts.md"
}

: >"$out/parts.md"
peers=()
if python3 -c 'import torch' 2>/dev/null; then
    run torch 60 python3 torch_adamw.py --quick --json "$out/torch.json"
    [ -s "$out/torch.json" ] && peers=(--peers "$out/torch.json")
fi
run bench 170 bin/bench --adapter "$WGPU_OPTIM_ADAPTER" --seconds 60 --out "$out/bench" "${peers[@]}"
run validate 150 bin/validate --json "$out/validate.json"
run replay 30 bin/replay golden/*.safetensors
run train 45 bin/train --out "$out/train"
for test in bin/test-*; do
    run "$(basename "$test")" 25 "$test"
done
run papers 60 bin/papers all --out "$out/papers"

# One JSON, one page, one picture.
{
    echo "# $(uname -srm), $(date -u +%Y-%m-%d)"
    echo
    echo "| part | came to | in |"
    echo "| --- | --- | --- |"
    cat "$out/parts.md"
    for page in "$out"/bench/*.md; do
        [ -f "$page" ] && { echo; cat "$page"; }
    done
    echo
    echo "## Tests"
    echo
    for test in "$out"/logs/test-*.txt; do
        echo "- $(basename "$test" .txt): $(grep 'test result' "$test" | tail -n 1)"
        grep 'FAILED$' "$test" | sed 's/^/  - /'
    done
    echo "- replay: $(grep ' ok, ' "$out/logs/replay.txt" | tail -n 1)"
    echo
    echo "## Passed over"
    echo
    grep -hE 'passed over:' "$out"/logs/*.txt | sort -u | sed 's/^/- /'
} >"$out/results.md"
file() { [ -s "$1" ] && cat "$1" || echo null; }
{
    echo '{"bench":'
    file "$out/bench/bench.json"
    echo ', "validate":'
    file "$out/validate.json"
    echo ', "peers":'
    file "$out/torch.json"
    echo '}'
} >"$out/results.json"
cp "$out/bench/share.png" "$out/share.png" 2>/dev/null
echo "written to $out: results.json, results.md, share.png"
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
