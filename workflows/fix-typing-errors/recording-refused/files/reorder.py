"""What has to be ordered, and how much of it."""

from stock.items import Item

PACK = 12


def find(items: list[Item], code: str) -> Item | None:
    """The item of a code, where there is one."""
    for item in items:
        if item.code == code:
            return item
    return None


def shortage(items: list[Item], code: str) -> int:
    """How many pieces an item is short of its limit. Of an unknown code nothing is short."""
    item = find(items, code)
    if item is None or item.reorder_at is None:
        return 0
    return max(0, item.reorder_at - item.quantity)


def orders(items: list[Item] -> dict[str, int]:
    """Packs to order by code: whole packs, as few as lift each item to its limit."""
    wanted = {}
    for item in items:
        short = shortage(items, item.code)
        if short > 0:
            wanted[item.code] = -(-short // PACK)
    return wanted
