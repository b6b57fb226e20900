#!/usr/bin/env bash
# Licences, sources and duplicate versions, where cargo-deny is installed: `.ci/run` installs it, a newcomer need not.
set -euo pipefail

if command -v cargo-deny >/dev/null; then
  exec cargo deny --log-level error check --hide-inclusion-graph bans licenses sources
fi
echo "cargo-deny is not installed: licences and sources were not checked (cargo install --locked cargo-deny)"
