"""Durations in seconds."""

import re

PART = re.compile(r"(\d+)\s*(d|h|min|s)")
SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def parse(text):
    """Seconds of a duration in days, hours, minutes and seconds, in any order and as often as one likes. Whatever else stands in the text makes it a ValueError.

    >>> parse("1h 30min")
    5400
    """
    parts = PART.findall(text)
    if not parts or PART.sub("", text).strip():
        raise ValueError(f"no duration: {text}")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def say(seconds, parts=2):
    """Says whole seconds in the largest units that fit, at most so many of them. What is smaller is left out and not rounded.

    >>> say(90061)
    '1 d 1 h'
    >>> say(0)
    '0 s'
    """
    said = []
    for unit, size in SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count and len(said) < parts:
            said.append(f"{count} {unit}")
    return " ".join(said) or "0 s"


def _unused(seconds):
    return seconds
