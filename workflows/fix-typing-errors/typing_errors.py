#!/usr/bin/env python3
"""Counts what mypy finds in a package, by file and by kind. Reads {"package"} and writes the counts, as a step of type `typing_errors` does."""

import json
import os
import pathlib
import re
import subprocess
import sys
from collections import Counter

# What silences mypy without repairing anything.
SILENCED = re.compile(r"#\s*(type:\s*ignore|mypy:)|\bcast\(|\bAny\b|@(typing\.)?no_type_check")
# What the codes of mypy are about. What stands in none of them is a contradiction between what is said and what is done.
KINDS = {
    "missing annotation": {"no-untyped-def", "var-annotated", "type-arg", "no-untyped-call", "no-any-return", "misc"},
    "possibly None": {"union-attr", "operator", "index"},
    "imports": {"import-not-found", "import-untyped", "attr-defined", "name-defined"},
}


def kind(code):
    return next((name for name, codes in KINDS.items() if code in codes), "contradiction")


def main():
    package = json.load(sys.stdin)["package"]
    # Nothing is left behind in the workspace, and nothing of an earlier run is believed.
    command = [sys.executable, "-m", "mypy", "--output=json", f"--cache-dir={os.devnull}", "--", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"mypy could not check {package}: {done.stdout}{done.stderr}")
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [error for error in found if error["severity"] == "error"]
    if done.returncode == 1 and not errors:
        sys.exit(f"mypy failed without naming an error: {done.stdout}{done.stderr}")
    by_file = Counter(error["file"] for error in errors)
    files = [
        {
            "path": path,
            "errors": count,
            "report": "\n".join(
                f"line {error['line']}: {error['message']} [{error['code']}]" for error in errors if error["file"] == path
            ),
        }
        # The most first: where a run stops early, it has done the most.
        for path, count in sorted(by_file.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    sources = [pathlib.Path(package)] if os.path.isfile(package) else sorted(pathlib.Path(package).rglob("*.py"))
    silenced = sum(len(SILENCED.findall(source.read_text(encoding="utf-8"))) for source in sources)
    by_kind = dict(sorted(Counter(kind(error["code"]) for error in errors).items()))
    for path, count in by_file.most_common():
        print(f"{count:4} {path}", file=sys.stderr)
    json.dump({"errors": len(errors), "silenced": silenced, "by_kind": by_kind, "files": files}, sys.stdout)


main()
