#!/usr/bin/env bash
# Runs tests with nextest where it is installed, else with cargo's own runner. The arguments choose packages; a last plain word chooses tests by name.
# SHOW=1 shows what passing tests print.
set -euo pipefail

show=()
if ! command -v cargo-nextest >/dev/null; then
  [[ -z ${SHOW:-} ]] || show=(-- --show-output)
  exec cargo test --locked --no-fail-fast "$@" "${show[@]}"
fi
[[ -z ${SHOW:-} ]] || show=(--success-output immediate)
cargo nextest run --locked --no-fail-fast "$@" "${show[@]}"
# The examples in the documentation are tests that nextest does not run.
if [[ "$*" == --workspace* ]]; then
  exec cargo test --locked --quiet --doc "$@"
fi
