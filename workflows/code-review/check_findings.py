#!/usr/bin/env python3
"""Holds what reviewers found against the change that they were shown. Reads {"diff", "commit", "reviews", "most"} and writes what a step of type
`check_findings` gives. It believes nothing: a finding counts where the line that it names is in the change and reads as the finding says."""

import json
import re
import sys

SEVERITIES = ["minor", "major", "blocker"]
HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


def changed_lines(diff):
    """Of each file that the change leaves behind, the lines of its hunks by their number."""
    files, path, number, left = {}, None, 0, 0
    for line in diff.split("\n"):
        if left > 0:
            if line.startswith(("+", " ")) or line == "":
                files[path][number] = line[1:]
                number, left = number + 1, left - 1
            continue
        if line.startswith("+++ "):
            name = line[4:].split("\t")[0]
            path = name[2:] if name.startswith("b/") else None
        elif path and (hunk := HUNK.match(line)):
            number, left = int(hunk[1]), int(hunk[2] or 1)
            files.setdefault(path, {})
    return files


def refusal(finding, files):
    """Why a finding does not count, where it does not."""
    lines = files.get(finding["path"])
    if lines is None:
        return f"{finding['path']} is not in the change"
    text = lines.get(finding["line"])
    if text is None:
        return f"line {finding['line']} of {finding['path']} is not in the change"
    if text.strip() != finding["quote"].strip():
        return f"line {finding['line']} of {finding['path']} reads: {text.strip()}"
    return None


def comment(finding):
    concerns = ", ".join(finding["concerns"])
    text = f"**{finding['title']}** ({finding['severity']}; {concerns})\n\n{finding['detail']}"
    return {"path": finding["path"], "line": finding["line"], "side": "RIGHT", "body": text}


def main():
    given = json.load(sys.stdin)
    files = changed_lines(given["diff"])
    kept, dropped, unexamined, found = {}, [], [], 0
    for review in given["reviews"]:
        read = {entry["path"] for entry in review["examined"] if refusal(entry, files) is None}
        unexamined += [f"{review['concern']}: {path}" for path in files if path not in read]
        for finding in review["findings"]:
            found += 1
            reason = refusal(finding, files)
            if reason:
                dropped.append({"concern": review["concern"], "title": finding["title"], "reason": reason})
                continue
            # Two reviewers at one line speak of one thing: the graver one's words stand, under both names.
            known = kept.get((finding["path"], finding["line"]))
            concerns = [review["concern"]]
            if known:
                concerns = known["concerns"] + [concern for concern in concerns if concern not in known["concerns"]]
                if SEVERITIES.index(known["severity"]) >= SEVERITIES.index(finding["severity"]):
                    finding = known
            kept[finding["path"], finding["line"]] = {**finding, "concerns": concerns}
    confirmed = sorted(kept.values(), key=lambda one: (-SEVERITIES.index(one["severity"]), one["path"], one["line"]))
    posted = confirmed[: given["most"]]
    more = f", the gravest {len(posted)} of them here" if len(posted) < len(confirmed) else ""
    body = f"{len(confirmed)} findings{more}. Written by an agent; each names a line of this change, which was checked."
    json.dump(
        {
            "confirmed": confirmed,
            "dropped": dropped,
            "unexamined": unexamined,
            "found": found,
            "doubled": found - len(dropped) - len(confirmed),
            "worst": confirmed[0]["severity"] if confirmed else "none",
            "gravity": SEVERITIES.index(confirmed[0]["severity"]) + 1 if confirmed else 0,
            "review": {
                "commit_id": given["commit"],
                "event": "COMMENT",
                "body": body,
                "comments": [comment(finding) for finding in posted],
            },
        },
        sys.stdout,
    )


main()
