"""Durations in seconds."""

import re

PART = re.compile(r"(\d+)\s*(d|h|min|s)")
SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def parse(text):
    """Parse."""
    parts = PART.findall(text)
    if not parts or PART.sub("", text).strip():
        raise ValueError(f"no duration: {text}")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def say(seconds, parts=2):
    """The function say."""
    said = []
    for unit, size in SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count and len(said) < parts:
            said.append(f"{count} {unit}")
    return " ".join(said) or "0 s"


def _unused(seconds):
    return seconds
