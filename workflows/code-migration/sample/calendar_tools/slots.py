"""Free time between meetings, in minutes since midnight."""


def free(meetings, begin=540, end=1020):
    """The gaps that meetings leave of a day, as pairs. Meetings may overlap and come in any order."""
    gaps, at = [], begin
    for start, stop in sorted(meetings):
        if stop <= start:
            raise ValueError(f"a meeting ends after it begins: {start} to {stop}")
        if start > at:
            gaps.append((at, min(start, end)))
        at = max(at, stop)
        if at >= end:
            return gaps
    return gaps + [(at, end)]


def first(meetings, minutes, **day):
    """When there is room for the first time, or None."""
    return next((start for start, stop in free(meetings, **day) if stop - start >= minutes), None)
