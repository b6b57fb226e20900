#!/usr/bin/env python3
"""Raises pins to the first version without the fault, where that is safe. Reads {"requirements", "findings"}, writes the file and {"raised"}."""

import json
import pathlib
import re
import sys

from packaging.version import Version


def main():
    given = json.load(sys.stdin)
    file = pathlib.Path(given["requirements"])
    lines = file.read_text(encoding="utf-8").split("\n")
    wanted = {}
    for finding in given["findings"]:
        if finding["tool"] == "advisories" and finding["safe"]:
            line = finding["line"]
            wanted[line] = max(wanted.get(line, finding), finding, key=lambda one: Version(one["fixed"]))
    raised = []
    for line, finding in sorted(wanted.items()):
        old = lines[line - 1]
        lines[line - 1] = re.sub(r"==\s*[^\s;#\\]+", f"=={finding['fixed']}", old, count=1)
        raised.append(f"{finding['package']} {finding['version']} to {finding['fixed']}")
    if raised:
        file.write_text("\n".join(lines), encoding="utf-8")
    json.dump({"raised": raised}, sys.stdout)


main()
