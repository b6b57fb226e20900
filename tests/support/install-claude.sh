#!/usr/bin/env bash
# Installs Claude Code for the tests of its adapter and prints where its command lies: `RATCHET_TEST_CLAUDE=$(tests/support/install-claude.sh)`.
# It is not part of ratchet and not shipped with it. The version is pinned, so that a new release cannot turn a green change red.
set -euo pipefail

version=2.1.330
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools/claude

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) platform=linux-x64 ;;
  Linux-aarch64) platform=linux-arm64 ;;
  Darwin-x86_64) platform=darwin-x64 ;;
  Darwin-arm64) platform=darwin-arm64 ;;
  *) echo "Claude Code is not built for $(uname -s) on $(uname -m)" >&2; exit 1 ;;
esac
command=$tools/node_modules/@anthropic-ai/claude-code-$platform/claude

# The platform's own package holds the program itself: nothing of it runs when it is installed, and it needs no node.
if [[ "$("$command" --version 2>/dev/null || true)" != "$version "* ]]; then
  mkdir -p "$tools"
  npm install --ignore-scripts --no-audit --no-fund --no-save --prefix "$tools" \
    "@anthropic-ai/claude-code-$platform@$version" >&2
fi
echo "$command"
