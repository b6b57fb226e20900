from decimal import Decimal

import pytest

from stock import Item, Ledger, as_table, orders, parse_line, shortage, totals
from stock.items import parse


def test_a_line_is_an_item():
    item = parse_line(" A1 ; Screws ; 40 ; 0.05 ")
    assert (item.code, item.name, item.quantity, item.price) == ("A1", "Screws", 40, Decimal("0.05"))
    assert item.value() == Decimal("2.00")


@pytest.mark.parametrize("line", ["", "   ", "# a comment"])
def test_what_is_no_item_gives_nothing(line):
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("line", "message"), [("A1;Screws;4", "4 fields"), ("A1;Screws;4;cheap", "no price"), ("A1;Screws;-1;1", "-1 pieces")]
)
def test_a_wrong_line_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        parse_line(line)


def test_a_code_stands_there_once():
    assert list(parse("A1;Screws;4;1\n\nB2;Nails;5;1")) == ["A1", "B2"]
    with pytest.raises(ValueError, match="A1 stands there twice"):
        parse("A1;Screws;4;1\nA1;Nails;5;1")


def test_a_ledger_adds_up():
    ledger = Ledger({"A1": 10})
    assert ledger.move("A1", -4, "sale") == 6
    assert ledger.move("B2", 3, "delivery") == 3
    assert (ledger.quantity("A1"), ledger.quantity("C3")) == (6, 0)
    assert ledger.by_reason() == {"sale": 4, "delivery": 3}
    assert ledger.codes() == ["A1", "B2"]


def test_nothing_goes_out_that_is_not_there():
    ledger = Ledger({"A1": 1})
    with pytest.raises(ValueError, match="only 1 pieces are there"):
        ledger.move("A1", -2, "sale")
    with pytest.raises(ValueError, match="nothing moved"):
        ledger.move("A1", 0, "sale")


def test_whole_packs_are_ordered():
    items = [Item("A1", "Screws", 3, Decimal(1), 20), Item("B2", "Nails", 5), Item("C3", "Glue", 2, Decimal(4), 2)]
    assert shortage(items, "A1") == 17
    assert shortage(items, "B2") == 0
    assert shortage(items, "unknown") == 0
    assert orders(items) == {"A1": 2}
    assert [item.is_short() for item in items] == [True, False, False]


def test_a_table_ends_with_the_total():
    items = [Item("B2", "Nails of a very long name indeed", 1000, Decimal("1.5")), Item("A1", "Screws", 2, Decimal(1))]
    lines = as_table(items, width=12).splitlines()
    assert lines[0] == "A1      Screws           2          2.00"
    assert lines[1] == "B2      Nails of a …  1000      1,500.00"
    assert lines[2] == "        total         1002      1,502.00"
    assert totals(items) == (1002, Decimal("1502.0"))
