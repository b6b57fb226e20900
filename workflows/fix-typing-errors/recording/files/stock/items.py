"""Items, and how they stand in a text file: one a line, `code;name;quantity;price`."""

from decimal import Decimal, InvalidOperation


class Item:
    """Something that is kept in a number of pieces."""

    def __init__(
        self, code: str, name: str, quantity: int = 0, price: Decimal = Decimal(0), reorder_at: int | None = None
    ) -> None:
        if quantity < 0:
            raise ValueError(f"{code}: there cannot be {quantity} pieces")
        self.code = code
        self.name = name
        self.quantity = quantity
        self.price = price
        self.reorder_at = reorder_at

    def value(self) -> Decimal:
        """What all pieces are worth together."""
        return self.price * self.quantity

    def is_short(self) -> bool:
        """Whether fewer pieces are left than it may have. An item without a limit is never short."""
        return self.reorder_at is not None and self.quantity < self.reorder_at


def parse_line(line: str) -> Item | None:
    """Reads one line. Empty lines and comments give nothing."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    fields = [field.strip() for field in line.split(";")]
    if len(fields) != 4:
        raise ValueError(f"4 fields are expected and not {len(fields)}: {line}")
    code, name, quantity, price = fields
    try:
        return Item(code, name, int(quantity), Decimal(price))
    except InvalidOperation:
        raise ValueError(f"{price} is no price: {line}") from None


def parse(text: str) -> dict[str, Item]:
    """Reads all lines of a text into items by their code."""
    items: dict[str, Item] = {}
    for line in text.splitlines():
        item = parse_line(line)
        if item is None:
            continue
        if item.code in items:
            raise ValueError(f"{item.code} stands there twice")
        items[item.code] = item
    return items
