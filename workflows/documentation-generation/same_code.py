#!/usr/bin/env python3
"""Says whether two versions of a Python file are the same but for docstrings. Reads {"before", "after"}: paths. Writes {"same", "difference"}."""

import ast
import difflib
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).splitlines()


def main():
    given = json.load(sys.stdin)
    try:
        before, after = lines(given["before"]), lines(given["after"])
    except SyntaxError as error:
        json.dump({"same": False, "difference": f"it is no Python: {error}"}, sys.stdout)
        return
    difference = "\n".join(difflib.unified_diff(before, after, "before", "after", lineterm="", n=1))
    json.dump({"same": not difference, "difference": difference[:4000]}, sys.stdout)


main()
