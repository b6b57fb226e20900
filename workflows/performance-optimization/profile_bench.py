#!/usr/bin/env python3
"""Says which functions of a package take a benchmark's time. Reads {"bench", "package"}. Writes {"functions"}: path, function, line and the share of the time that is spent in it and below it."""

import cProfile
import contextlib
import io
import json
import os
import pathlib
import pstats
import runpy
import sys


def main():
    given = json.load(sys.stdin)
    here, package = pathlib.Path.cwd(), pathlib.Path(given["package"]).resolve()
    sys.path.insert(0, str(here))
    sys.argv = [given["bench"]]
    profile = cProfile.Profile()
    with contextlib.redirect_stdout(io.StringIO()):
        profile.runcall(runpy.run_path, given["bench"], run_name="__main__")
    stats = pstats.Stats(profile, stream=io.StringIO())
    functions = []
    for (file, line, function), (_, calls, _, below, _) in stats.stats.items():
        if file.startswith(f"{package}{os.sep}") and not function.startswith("<"):
            share = round(100 * below / stats.total_tt)
            functions.append({"path": os.path.relpath(file, here), "function": function, "line": line, "calls": calls, "percent": share})
    functions.sort(key=lambda one: (-one["percent"], one["path"], one["line"]))
    json.dump({"functions": functions[:15]}, sys.stdout)


main()
