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
    """Divides an amount so that nothing is lost: the first shares get the cents that are left over. Less than one share is refused.

    >>> split(100, 3)
    [34, 33, 33]
    """
    if shares < 1:
        return []
    each, left = divmod(cents, shares)
    return [each + 1] * left + [each] * (shares - left)
