"""What an order comes to."""


def total(lines):
    """Cents of all lines: pieces times the price of one."""
    return sum(pieces * cents for pieces, cents in lines)
