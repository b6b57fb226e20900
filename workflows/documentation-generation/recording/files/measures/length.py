"""Lengths in metres, and the units that people write them in."""

METRES = {"mm": 0.001, "cm": 0.01, "m": 1.0, "km": 1000.0, "in": 0.0254, "ft": 0.3048}


class Length:
    """A length that can be added and compared. Two of them are equal where they differ by less than a nanometre; one below zero is refused."""

    def __init__(self, metres):
        if metres < 0:
            raise ValueError("a length is not below zero")
        self.metres = metres

    def to(self, unit):
        """The length as a number of a unit of `length.METRES`. A unit that is not there is a ValueError.

        >>> Length(2).to("cm")
        200
        """
        if unit not in METRES:
            raise ValueError(f"no unit of length: {unit}")
        return self.metres / METRES[unit]

    def __add__(self, other):
        return Length(self.metres + other.metres)

    def __eq__(self, other):
        return isinstance(other, Length) and abs(self.metres - other.metres) < 1e-9


def parse(text):
    """Reads a number and a unit with a space between them; a comma is a point. The units are those of `length.METRES`.

    >>> parse("1,5 km").metres
    1500.0
    """
    number, _, unit = text.strip().partition(" ")
    if unit not in METRES:
        raise ValueError(f"no unit of length: {unit}")
    return Length(float(number.replace(",", ".")) * METRES[unit])
