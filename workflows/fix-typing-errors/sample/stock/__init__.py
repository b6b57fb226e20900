"""A small stock: what is there, what moved, and what has to be ordered."""

from stock.items import Item, parse_line
from stock.ledger import Ledger
from stock.reorder import orders, shortage
from stock.report import as_table, totals

__all__ = ["Item", "Ledger", "as_table", "orders", "parse_line", "shortage", "totals"]
