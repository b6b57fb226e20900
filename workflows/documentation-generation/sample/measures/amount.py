"""Amounts of money in whole cents."""


def parse(text):
    """Cents of an amount with a point or a comma before the cents.

    >>> parse("12,50")
    1250
    """
    whole, _, cents = text.strip().replace(",", ".").partition(".")
    if len(cents) not in (0, 2):
        raise ValueError(f"no amount: {text}")
    return int(whole) * 100 + int(cents or 0)


def split(cents, shares):
    if shares < 1:
        raise ValueError("there is nobody to share")
    each, left = divmod(cents, shares)
    return [each + 1] * left + [each] * (shares - left)
