#!/usr/bin/env python3
"""Compares two versions of a file by a benchmark, in pairs: one run with the version before, one with the version after, and so on, so that what else the machine does meets both. Reads
{"bench", "path", "before", "pairs"} and writes {"gain_percent", "wins", "chance", "same_results"}. `chance` is the probability of so many wins between versions that are equally fast."""

import json
import math
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

PASSED_OVER = shutil.ignore_patterns(".git", "__pycache__", ".pytest_cache", "venv", ".venv", "node_modules")


def run(folder, bench):
    done = subprocess.run([sys.executable, bench], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the benchmark fails: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    return result.pop("seconds"), result


def main():
    given = json.load(sys.stdin)
    ratios, same = [], True
    with tempfile.TemporaryDirectory() as place:
        before, after = pathlib.Path(place) / "before", pathlib.Path(place) / "after"
        for folder in (before, after):
            shutil.copytree(".", folder, ignore=PASSED_OVER, symlinks=True)
        shutil.copyfile(given["before"], before / given["path"])
        for number in range(given["pairs"]):
            # Who goes first takes turns: the second finds the machine warm.
            order = [before, after] if number % 2 == 0 else [after, before]
            measured = {folder: run(folder, given["bench"]) for folder in order}
            ratios.append(measured[after][0] / measured[before][0])
            same = same and measured[before][1] == measured[after][1]
    wins = sum(ratio < 1 for ratio in ratios)
    chance = sum(math.comb(len(ratios), count) for count in range(wins, len(ratios) + 1)) / 2 ** len(ratios)
    gain = round(100 * (1 - statistics.median(ratios)), 1)
    print(f"{wins} of {len(ratios)} pairs won, {gain} % less time", file=sys.stderr)
    json.dump({"gain_percent": gain, "wins": wins, "chance": round(chance, 5), "same_results": same}, sys.stdout)


main()
