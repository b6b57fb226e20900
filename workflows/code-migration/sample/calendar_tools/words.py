"""Times and days as people say them."""

from datetime import date, timedelta


def clock(minutes):
    """Minutes since midnight as `9:05`."""
    if not 0 <= minutes < 1440:
        raise ValueError(f"no time of a day: {minutes}")
    return f"{minutes // 60}:{minutes % 60:02}"


def today():
    """The day that it is."""
    return date.today()


def day(when):
    """A day as seen from today: today, tomorrow, yesterday, or its date."""
    names = {timedelta(0): "today", timedelta(days=1): "tomorrow", timedelta(days=-1): "yesterday"}
    return names.get(when - today(), when.isoformat())


def hours(minutes):
    """Minutes as hours, for a time sheet."""
    return round(minutes / 60, 2)
