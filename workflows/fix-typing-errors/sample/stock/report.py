"""The stock as people read it."""

from decimal import Decimal


def money(amount) -> Decimal:
    """An amount with two places, and thousands apart."""
    return f"{amount:,.2f}"


def totals(items):
    """Pieces and value of all items together."""
    pieces = sum(item.quantity for item in items)
    value = sum((item.value() for item in items), Decimal(0))
    return pieces, value


def as_table(items, width=24):
    """One line an item, the names cut to a width, and the total below."""
    lines = []
    for item in sorted(items, key=lambda item: item.code):
        name = item.name if len(item.name) <= width else item.name[: width - 1] + "…"
        lines.append(f"{item.code:<8}{name:<{width}}{item.quantity:>6}{money(item.value()):>14}")
    pieces, value = totals(items)
    lines.append(f"{'':<8}{'total':<{width}}{pieces:>6}{money(value):>14}")
    return "\n".join(lines)
