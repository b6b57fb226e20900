#!/usr/bin/env bash
# Runs tests with nextest where it is installed, else with cargo's own runner. The arguments choose packages; a last plain word chooses tests by name.
set -euo pipefail

if ! command -v cargo-nextest >/dev/null; then
  exec cargo test --locked --no-fail-fast "$@"
fi
cargo nextest run --locked --no-fail-fast "$@"
# The examples in the documentation are tests that nextest does not run.
if [[ "$*" == --workspace* ]]; then
  exec cargo test --locked --quiet --doc --workspace
fi
