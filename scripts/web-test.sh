#!/usr/bin/env bash
# Builds the package for browsers and its pages, and holds every claim about them in headless Chromium, on the CPU.
#
#   web-test.sh [PART OF A NAME]
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() {
    echo "the browser was not tested: $*" >&2
    exit 1
}

. scripts/tools.sh
need_chromium
scripts/web.sh
(cd web && npm pack --dry-run --silent >/dev/null)
node web/test/run.js "$@"
