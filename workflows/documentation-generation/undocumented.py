#!/usr/bin/env python3
"""Finds public modules, classes, functions and methods without a docstring, and docstrings that say nothing. Reads {"package"}: a folder or a file. Writes what a step
of type `undocumented` gives."""

import ast
import json
import pathlib
import re
import sys

# A name in backticks with a dot in it, as `length.parse`: it is taken to be one of the package's own.
NAMED = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(\))?`")


def definitions(tree, prefix=""):
    """Each public name below a module or class, with its node. What begins with an underscore is nobody's business, `__init__` included: its class is."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{prefix}{node.name}.")


def words(text):
    return re.findall(r"[a-z]+", text.lower())


def says_nothing(name, text):
    """Whether a docstring is empty, or its first line has no word that its name does not have."""
    first = words(text.strip().split("\n")[0])
    return not set(first) - set(words(name.replace("_", " "))) - {"a", "an", "the", "function", "method", "class", "this", "is", "for"}


def look(path, known):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    missing, documented, examples, broken = [], 0, 0, []
    for name, node in [("module", tree), *definitions(tree)]:
        text = ast.get_docstring(node)
        if text is None or says_nothing(name.split(".")[-1], text):
            missing.append({"name": name, "line": getattr(node, "lineno", 1)})
            continue
        documented += 1
        examples += text.count(">>> ")
        for named in NAMED.findall(text):
            if not any(one == named or one.endswith("." + named) for one in known):
                broken.append(f"{path}: {name} speaks of {named}, which is not there")
    return {"path": str(path), "missing": missing, "documented": documented, "examples": examples, "broken": broken}


def known_names(paths):
    """Every name of the package with its module before it, and of modules the functions that they have."""
    names = set()
    for path in paths:
        module = ".".join(part for part in path.with_suffix("").parts if part != "__init__")
        names.add(module)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        names.update(f"{module}.{name}" for name, _ in definitions(tree))
        assigned = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        names.update(f"{module}.{target.id}" for target in assigned if isinstance(target, ast.Name))
    return names


def main():
    package = pathlib.Path(json.load(sys.stdin)["package"])
    paths = [package] if package.is_file() else sorted(package.rglob("*.py"))
    siblings = sorted(package.parent.rglob("*.py")) if package.is_file() else paths
    files = [look(path, known_names(siblings)) for path in paths]
    missing = sum(len(file["missing"]) for file in files)
    documented = sum(file["documented"] for file in files)
    json.dump(
        {
            "missing": missing,
            "percent": round(100 * documented / (documented + missing), 1) if documented + missing else 100.0,
            "examples": sum(file["examples"] for file in files),
            "broken": [told for file in files for told in file["broken"]],
            "files": [file for file in files if file["missing"]],
        },
        sys.stdout,
    )


main()
