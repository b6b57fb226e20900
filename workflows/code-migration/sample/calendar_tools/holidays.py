"""Holidays in a file: one a line, a date and a name."""

from calendar_tools.days import parse


def read(path):
    """The names of holidays by their date. Empty lines and comments are passed over."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            day, _, name = line.partition(" ")
            if not name:
                raise ValueError(f"line {number}: a holiday has a name")
            found[parse(day)] = name.strip()
    return found
