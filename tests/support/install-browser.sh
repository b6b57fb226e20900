#!/usr/bin/env bash
# Installs what drives a browser in the tests of the page and prints where it lies: `RATCHET_TEST_BROWSER=$(tests/support/install-browser.sh)`.
# The browser itself is the system's Chromium. The versions are pinned, so that a new release cannot turn a green change red.
set -euo pipefail

playwright=1.65.1
axe=4.14.1
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools/browser

command -v node >/dev/null || { echo "there is no node" >&2; exit 1; }
command -v chromium >/dev/null || { echo "there is no chromium" >&2; exit 1; }
version() { node --print "require('$tools/node_modules/$1/package.json').version" 2>/dev/null || true; }
if [[ "$(version playwright-core) $(version axe-core)" != "$playwright $axe" ]]; then
  mkdir -p "$tools"
  npm install --ignore-scripts --no-audit --no-fund --no-save --prefix "$tools" "playwright-core@$playwright" "axe-core@$axe" >&2
fi
echo "$tools"
