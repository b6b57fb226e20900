#!/usr/bin/env python3
"""Writes a page of all that a package has, from its docstrings. Reads {"package", "page"}, writes the page and {"entries"}."""

import ast
import json
import os
import pathlib
import sys


def signature(node):
    if isinstance(node, ast.ClassDef):
        made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        arguments = ast.unparse(made[0].args) if made else ""
    else:
        arguments = ast.unparse(node.args)
    arguments = arguments.removeprefix("self").removeprefix(", ")
    return f"{node.name}({arguments})"


def entries(tree, depth=3):
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield depth, node
            if isinstance(node, ast.ClassDef):
                yield from entries(node, depth + 1)


def body(text):
    """A docstring as Markdown: examples become blocks of code."""
    told, code = [], False
    for line in text.split("\n"):
        example = line.startswith((">>> ", "... "))
        if example and not code:
            told.append("```python")
            code = True
        elif code and not line.strip():
            told.append("```")
            code = False
        told.append(line)
    return told + (["```"] if code else [])


def main():
    given = json.load(sys.stdin)
    package, page = pathlib.Path(given["package"]), pathlib.Path(given["page"])
    paths = [package] if package.is_file() else sorted(package.rglob("*.py"))
    lines, count = [f"# {package.stem}", "", "Written from the docstrings of the code; what is to be read here is to be changed there.", ""], 0
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        link = os.path.relpath(path, page.parent)
        module = ".".join(part for part in path.with_suffix("").parts if part != "__init__")
        lines += [f"## [{module}]({link})", "", *body(ast.get_docstring(tree) or ""), ""]
        for depth, node in entries(tree):
            text = ast.get_docstring(node)
            if text is None:
                continue
            count += 1
            lines += [f"{'#' * depth} [`{signature(node)}`]({link}#L{node.lineno})", "", *body(text), ""]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")
    json.dump({"entries": count}, sys.stdout)


main()
