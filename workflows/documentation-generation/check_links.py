#!/usr/bin/env python3
"""Sees that the links of Markdown pages lead somewhere: to a file that is there, a line that it has, a heading of its page. Reads {"pages"}: files, and folders of pages. Links
to other hosts are counted and not followed: whether they answer today says nothing of the page. Writes {"links", "outside", "broken"}."""

import json
import pathlib
import re
import sys

LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")


def anchors(text):
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


def fault(page, target):
    path, _, part = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return f"{path} is not there"
    if not part or file.is_dir():
        return None
    text = file.read_text(encoding="utf-8")
    if line := re.fullmatch(r"L(\d+)", part):
        return None if int(line[1]) <= len(text.splitlines()) else f"{path} has no line {line[1]}"
    return None if part in anchors(text) else f"{path or page} has no heading {part}"


def main():
    pages = []
    for name in json.load(sys.stdin)["pages"]:
        path = pathlib.Path(name)
        pages += sorted(path.rglob("*.md")) if path.is_dir() else [path] if path.exists() else []
    links, outside, broken = 0, 0, []
    for page in pages:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                outside += 1
                continue
            links += 1
            if told := fault(page, target):
                broken.append(f"{page}: {told}")
    json.dump({"links": links, "outside": outside, "broken": broken}, sys.stdout)


main()
