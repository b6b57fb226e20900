"""What it costs to send a parcel."""

from parcel.quote import Parcel, Quote, quote
from parcel.weight import parse_weight

__all__ = ["Parcel", "Quote", "parse_weight", "quote"]
