#!/usr/bin/env bash
# usage: tools/packages.sh FOLDER
# Packs each function of FOLDER as Lambda takes it, says how large it is, and fails where one needs a newer C library than Amazon Linux 2023 has.
set -euo pipefail

glibc_max=2.34
failed=0
for folder in "$1"/*/; do
  name=$(basename "$folder")
  packed=$(python3 - "$folder" <<'PYTHON'
import io, pathlib, sys, zipfile
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    archive.write(pathlib.Path(sys.argv[1]) / "bootstrap", "bootstrap")
print(len(packed.getvalue()))
PYTHON
  )
  glibc=$(objdump -T "$folder/bootstrap" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1)
  printf '%-20s %5.1f MB packed, glibc %s\n' "$name" "$((packed / 100000))e-1" "$glibc"
  if [[ $(printf '%s\n' "$glibc" "$glibc_max" | sort -V | tail -1) != "$glibc_max" ]]; then
    echo "$name: Amazon Linux 2023 has glibc $glibc_max: build on Debian 12 or older" >&2
    failed=1
  fi
done
exit "$failed"
