#!/usr/bin/env python3
"""Finds pinned requirements that an advisory names. Reads {"requirements", "advisories"}: a file of pins, and a folder of advisories in the format of OSV, one JSON
file each. Needs no network. Writes {"findings", "unpinned"}."""

import json
import pathlib
import re
import sys

from packaging.version import InvalidVersion, Version

PIN = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*==\s*([^\s;#\\]+)")
# What an advisory calls its severity. One that says nothing is taken to be high: to be wrong on that side costs a look.
SEVERITIES = {"LOW": "low", "MODERATE": "medium", "MEDIUM": "medium", "HIGH": "high", "CRITICAL": "critical"}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def advisories_by_package(folder):
    found = {}
    for file in sorted(pathlib.Path(folder).rglob("*.json")):
        advisory = json.loads(file.read_text(encoding="utf-8"))
        for affected in advisory.get("affected", []):
            package = affected.get("package", {})
            if package.get("ecosystem") == "PyPI" and not advisory.get("withdrawn"):
                found.setdefault(normal(package["name"]), []).append((advisory, affected))
    return found


def spans(affected):
    """Pairs of versions: from the first on, and before the second, where there is a second."""
    for span in affected.get("ranges", []):
        if span.get("type") != "ECOSYSTEM":
            continue
        begin = None
        for event in span["events"]:
            if "introduced" in event:
                begin = Version(event["introduced"])
            elif "fixed" in event and begin is not None:
                yield begin, Version(event["fixed"])
                begin = None
        if begin is not None:
            yield begin, None


def main():
    given = json.load(sys.stdin)
    known = advisories_by_package(given["advisories"])
    findings, unpinned = [], []
    lines = pathlib.Path(given["requirements"]).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        pin = PIN.match(line)
        try:
            version = Version(pin[2]) if pin else None
        except InvalidVersion:
            version = None
        if version is None:
            unpinned.append(f"{given['requirements']}:{number}: {line.strip()}")
            continue
        for advisory, affected in known.get(normal(pin[1]), []):
            hit = [span for span in spans(affected) if span[0] <= version and (span[1] is None or version < span[1])]
            if not hit and pin[2] not in affected.get("versions", []):
                continue
            fixed = hit[0][1] if hit else None
            severity = str(advisory.get("database_specific", {}).get("severity", "")).upper()
            findings.append(
                {
                    "tool": "advisories",
                    "rule": advisory["id"],
                    "severity": SEVERITIES.get(severity, "high"),
                    "path": given["requirements"],
                    "line": number,
                    "text": line.strip(),
                    "message": f"{pin[1]} {version}: {advisory.get('summary', advisory['id'])}",
                    "package": pin[1],
                    "version": str(version),
                    "fixed": str(fixed) if fixed else None,
                    # A version of the same major number promises to break nothing.
                    "safe": fixed is not None and fixed.major == version.major,
                }
            )
    json.dump({"findings": findings, "unpinned": unpinned}, sys.stdout)


main()
