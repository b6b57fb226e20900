"""Days on which work is done."""

from datetime import date, timedelta


def parse(text):
    """A date as `2026-03-01` or `1.3.2026`."""
    separator = "-" if "-" in text else "."
    parts = text.split(separator)
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"no date: {text}")
    numbers = [int(part) for part in parts]
    return date(*numbers) if separator == "-" else date(*reversed(numbers))


def is_working(day, holidays=()):
    """Whether a day is neither on a weekend nor a holiday."""
    return day.weekday() < 5 and day not in holidays


def add_working(day, count, holidays=()):
    """The day so many working days later, or earlier where the count is below zero."""
    step = timedelta(days=1 if count > 0 else -1)
    while count != 0:
        day += step
        if is_working(day, holidays):
            count -= 1 if count > 0 else -1
    return day
