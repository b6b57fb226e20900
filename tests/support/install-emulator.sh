#!/usr/bin/env bash
# Installs an emulator of AWS below target/ and prints the path of its program. The tests start it themselves, on loopback.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=${CARGO_TARGET_DIR:-$PWD/target}/tools/emulator
requirements=tests/support/emulator-requirements.txt
if ! cmp --quiet "$requirements" "$folder/.installed"; then
  python3 -m venv --clear "$folder" >&2
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2
  cp "$requirements" "$folder/.installed"
fi
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$folder/bin/python" "$PWD/tests/support/emulator.py" >"$folder/bin/emulator"
chmod +x "$folder/bin/emulator"
echo "$folder/bin/emulator"
