#!/usr/bin/env python3
"""Merges what bandit and the advisories say into one list and one SARIF log. Reads {"bandit", "dependencies", "verdicts"} and writes what a step of type
`merge_findings` gives."""

import hashlib
import json
import pathlib
import sys

LEVELS = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
GRAVITY = {"low": 1, "medium": 2, "high": 3, "critical": 4}


def of_bandit(result):
    path, number = result["filename"].removeprefix("./"), result["line_number"]
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    return {
        "tool": "bandit",
        "rule": result["test_id"],
        "severity": result["issue_severity"].lower(),
        "path": path,
        "line": number,
        "text": lines[number - 1].strip(),
        "message": result["issue_text"],
    }


def name(finding, seen):
    """The same as long as the line says the same, wherever in the file it stands."""
    told = " ".join([finding["rule"], finding["path"], finding["text"]])
    seen[told] = seen.get(told, 0) + 1
    digest = hashlib.sha256(f"{told} {seen[told]}".encode()).hexdigest()[:8]
    return f"{finding['rule']}-{digest}"


def sarif(findings):
    runs = []
    for tool in sorted({finding["tool"] for finding in findings}):
        own = [finding for finding in findings if finding["tool"] == tool]
        results = [
            {
                "ruleId": finding["rule"],
                "level": LEVELS[finding["severity"]],
                "message": {"text": finding["message"]},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": finding["path"]},
                            "region": {"startLine": finding["line"]},
                        }
                    }
                ],
                "partialFingerprints": {"lineText/v1": finding["id"]},
                "suppressions": [{"kind": "external", "justification": finding["reason"]}] if finding["dismissed"] else [],
            }
            for finding in own
        ]
        rules = [{"id": rule} for rule in sorted({finding["rule"] for finding in own})]
        runs.append({"tool": {"driver": {"name": tool, "rules": rules}}, "results": results})
    return {"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": runs}


def main():
    given = json.load(sys.stdin)
    findings, seen = [of_bandit(result) for result in given["bandit"]] + given["dependencies"], {}
    verdicts = {verdict["id"]: verdict for verdict in given["verdicts"]}
    for finding in findings:
        finding["id"] = name(finding, seen)
        verdict = verdicts.get(finding["id"], {"verdict": "real", "reason": ""})
        # An agent's word closes what is low. All else stays open until the code or a person says otherwise, and so does an advisory.
        may = finding["tool"] == "bandit" and finding["severity"] == "low"
        finding["dismissed"] = may and verdict["verdict"] == "dismissed"
        finding["reason"] = verdict["reason"]
    findings.sort(key=lambda one: (-GRAVITY[one["severity"]], one["path"], one["line"], one["rule"]))
    left = [finding for finding in findings if not finding["dismissed"]]
    by_file = {}
    for finding in left:
        if finding["tool"] == "bandit":
            told = f"line {finding['line']}: {finding['message']} [{finding['rule']}, {finding['severity']}]"
            by_file.setdefault(finding["path"], []).append(told)
    json.dump(
        {
            "findings": findings,
            "open": left,
            "gravity": max((GRAVITY[finding["severity"]] for finding in left), default=0),
            "files": [{"path": path, "report": "\n".join(told)} for path, told in sorted(by_file.items())],
            "sarif": sarif(findings),
        },
        sys.stdout,
    )


main()
