#!/bin/bash
# run.sh makes pages of 3 and of 500 nodes, opens them in headless Chromium, and checks them with
# axe-core. Pages and pictures are in bin/pages. Run it with `make page-check`.
set -euo pipefail
cd "$(dirname "$0")/../.."
pages=$PWD/bin/pages
mkdir -p "$pages"
(cd kubectl-pullprobe && go test ./page -count=1 -run TestPage -pages "$pages")
cp hack/page-check/check.mjs hack/page-check/package.json bin/pages
(cd bin/pages && PUPPETEER_SKIP_DOWNLOAD=1 npm install --silent --no-audit --no-fund && node check.mjs .)
