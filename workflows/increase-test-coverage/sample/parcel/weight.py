"""Weights as people write them."""

import re
from decimal import Decimal

GRAMS = {"g": Decimal(1), "kg": Decimal(1000), "oz": Decimal("28.349523125"), "lb": Decimal("453.59237")}

_WEIGHT = re.compile(r"\s*(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>[a-zA-Z]*)\s*")


def parse_weight(text: str) -> int:
    """Grams, rounded up: "750 g", "1,5kg", "2 lb". A number alone is in grams."""
    match = _WEIGHT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a weight: {text!r}")
    unit = match["unit"].lower() or "g"
    if unit not in GRAMS:
        raise ValueError(f"unknown unit {match['unit']!r}: use one of {', '.join(GRAMS)}")
    grams = Decimal(match["number"].replace(",", ".")) * GRAMS[unit]
    return int(grams.to_integral_value(rounding="ROUND_CEILING"))
