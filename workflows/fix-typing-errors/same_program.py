#!/usr/bin/env python3
"""Says whether two versions of a Python file are the same program, annotations aside. Reads {"before", "after"}: paths. Writes {"same", "difference"}."""

import ast
import difflib
import json
import sys

# Modules whose names serve annotations alone: to import from them changes nothing that runs.
OF_ANNOTATIONS = {"__future__", "typing", "typing_extensions", "collections.abc"}
# Words in the annotation of a field that say how a class treats it.
OF_FIELDS = ("ClassVar", "InitVar", "KW_ONLY", "Final", "Required")


class WithoutAnnotations(ast.NodeTransformer):
    """Takes out of a tree all that a type checker reads and a program does not."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        node.returns = None
        node.type_params = []
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        node.type_params = []
        # What a decorator or a base may make a field of (a dataclass does): that there is an annotation matters, and what it says does not.
        if node.decorator_list or node.bases:
            for child in node.body:
                if isinstance(child, ast.AnnAssign):
                    said = ast.unparse(child.annotation)
                    child.annotation = ast.Constant(next((word for word in OF_FIELDS if word in said), "field"))
                    child.simple = 2
        return self.generic_visit(node)

    def visit_AnnAssign(self, node):
        if node.simple == 2:
            node.simple = 1
            return node
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_ImportFrom(self, node):
        return None if node.module in OF_ANNOTATIONS and node.level == 0 else node

    def visit_If(self, node):
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
        if name == "TYPE_CHECKING":
            return [self.visit(child) for child in node.orelse]
        return self.generic_visit(node)


def lines(path):
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    return ast.unparse(ast.fix_missing_locations(WithoutAnnotations().visit(tree))).splitlines()


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
