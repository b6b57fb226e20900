#!/usr/bin/env python3
"""Says of test files how they are written, from their syntax trees. Reads {"paths"}: files and folders. Writes what a step of type `test_files` gives."""

import ast
import json
import pathlib
import sys



def is_unittest(node):
    if isinstance(node, ast.Import):
        return any(name.name == "unittest" for name in node.names)
    return isinstance(node, ast.ImportFrom) and node.module == "unittest" and any(name.name != "mock" for name in node.names)


def checks(function):
    """How many checks a function makes, whichever way they are written."""
    count = 0
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            # `assert a and b` checks two things, as two calls did.
            count += len(node.test.values) if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, getattr(node.func.value, "id", None)
            if owner == "self" and name.startswith("assert") or owner == "pytest" and name in {"raises", "warns", "fail"}:
                count += 1
    return count


def tests(tree):
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
            found[node.name] = found.get(node.name, 0) + checks(node)
    return found


def look(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    uses = sorted(
        {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self"}
        | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in {"setUp", "tearDown", "setUpClass", "tearDownClass"}}
    )
    found = tests(tree)
    return {
        "path": str(path),
        "unittest": any(is_unittest(node) for node in ast.walk(tree)),
        "tests": found,
        "checks": sum(found.values()),
        "uses": [name for name in uses if name.startswith(("assert", "setUp", "tearDown", "subTest", "addCleanup", "skip"))],
    }


def main():
    files = []
    for name in json.load(sys.stdin)["paths"]:
        path = pathlib.Path(name)
        files += [path] if path.is_file() else sorted(path.rglob("test*.py"))
    seen = [look(path) for path in files]
    to_migrate = [file for file in seen if file["unittest"]]
    json.dump(
        {
            "files": seen,
            "to_migrate": to_migrate,
            "tests": sum(len(file["tests"]) for file in seen),
            "checks": sum(file["checks"] for file in seen),
        },
        sys.stdout,
    )


main()
