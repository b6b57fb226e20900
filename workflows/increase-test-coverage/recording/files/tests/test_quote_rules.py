from dataclasses import replace

import pytest

from parcel import Parcel, Quote, quote
from parcel.quote import base_cents, check, discount_percent, insurance_cents, money, receipt, shares

SMALL = Parcel(grams=450, length=20, width=10, height=5)


def test_a_bulky_parcel_is_billed_by_its_volume():
    bulky = Parcel(grams=900, length=40, width=30, height=20)
    assert bulky.billed_grams() == 4_800
    assert quote(bulky).lines == [("base", 799)]


def test_a_started_gram_of_volume_counts():
    assert Parcel(grams=1, length=3, width=3, height=1).billed_grams() == 2


def test_the_girth_does_not_depend_on_how_the_box_lies():
    assert Parcel(1, 10, 50, 20).girth() == Parcel(1, 50, 20, 10).girth() == 110


@pytest.mark.parametrize(
    ("grams", "cents"),
    [(1, 399), (500, 399), (501, 549), (2_000, 549), (2_001, 799), (5_001, 1_149), (10_001, 1_849), (31_500, 1_849)],
)
def test_a_band_holds_its_limit_and_no_gram_more(grams, cents):
    assert base_cents(grams) == cents


def test_there_is_no_band_above_the_heaviest():
    with pytest.raises(ValueError, match="no band for 31501 g"):
        base_cents(31_501)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grams": 0}, "a weight and three sides"),
        ({"height": 0}, "a weight and three sides"),
        ({"grams": 31_501}, "too heavy: 31501 g"),
        ({"length": 121, "width": 1, "height": 1}, "too long: 121 cm"),
        ({"length": 120, "width": 89, "height": 2}, "too bulky: a girth of 302 cm"),
    ],
)
def test_a_parcel_beyond_a_limit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check(replace(SMALL, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"grams": 31_500}, {"length": 120, "width": 1, "height": 1}, {"length": 120, "width": 88, "height": 2}],
)
def test_a_parcel_at_a_limit_is_carried(changes):
    check(replace(SMALL, **changes))


@pytest.mark.parametrize(
    ("value_cents", "cents"),
    [(0, 0), (5_000, 0), (5_001, 250), (25_000, 250), (25_001, 251), (500_000, 5_000)],
)
def test_insurance_is_free_then_one_percent_rounded_up(value_cents, cents):
    assert insurance_cents(value_cents) == cents


@pytest.mark.parametrize("value_cents", [-1, 500_001])
def test_a_value_out_of_range_is_not_insured(value_cents):
    with pytest.raises(ValueError, match="cannot be insured"):
        insurance_cents(value_cents)


@pytest.mark.parametrize(
    ("code", "parcels", "percent"),
    [
        (None, 1, 0),
        (None, 19, 0),
        (None, 20, 15),
        (None, 99, 15),
        (None, 100, 30),
        (" welcome10 ", 1, 10),
        ("WELCOME10", 20, 15),
        ("BULK25", 20, 25),
        ("BULK25", 100, 30),
    ],
)
def test_the_better_discount_counts(code, parcels, percent):
    assert discount_percent(code, parcels) == percent


@pytest.mark.parametrize(("code", "message"), [("FREE", "unknown code 'FREE'"), ("BULK25", "for 20 parcels and more")])
def test_a_code_that_does_not_apply_is_refused(code, message):
    with pytest.raises(ValueError, match=message):
        discount_percent(code, 19)


@pytest.mark.parametrize(
    ("parcel", "zone", "cents"),
    [(SMALL, "domestic", 500), (Parcel(grams=9_000, length=30, width=20, height=10), "continent", 574)],
)
def test_express_costs_half_the_base_and_at_least_five(parcel, zone, cents):
    assert ("express", cents) in quote(parcel, zone, express=True).lines


def test_insurance_is_not_discounted():
    result = quote(replace(SMALL, fragile=True), value_cents=30_000, code="WELCOME10")
    assert result.lines == [("base", 399), ("fragile", 300), ("discount", -69), ("insurance", 300)]
    assert result.cents == 930


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zone": "moon"}, "unknown zone 'moon'"),
        ({"parcels": 0}, "at least one parcel"),
        ({"zone": "world", "express": True}, "no express to the world"),
    ],
)
def test_a_shipment_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        quote(SMALL, **arguments)


@pytest.mark.parametrize(
    ("cents", "parcels", "parts"),
    [(100, 3, [34, 33, 33]), (-100, 3, [-34, -33, -33]), (2, 4, [1, 1, 0, 0]), (0, 2, [0, 0]), (7, 1, [7])],
)
def test_shares_lose_no_cent(cents, parcels, parts):
    assert shares(cents, parcels) == parts
    assert sum(shares(cents, parcels)) == cents


def test_an_amount_needs_someone_to_share_it():
    with pytest.raises(ValueError, match="at least one parcel"):
        shares(100, 0)


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (405, "EUR", "€4.05"),
        (-50, "EUR", "-€0.50"),
        (123_456_789, "usd", "$1,234,567.89"),
        (405, "chf", "4.05 CHF"),
        (-5, "CHF", "-0.05 CHF"),
    ],
)
def test_money_is_written_for_people(cents, currency, text):
    assert money(cents, currency) == text


@pytest.mark.parametrize("currency", ["", "EURO", "E1R"])
def test_what_is_no_currency_is_refused(currency):
    with pytest.raises(ValueError, match="not a currency"):
        money(1, currency)


def test_a_receipt_has_its_amounts_flush_right():
    total = quote(SMALL, "neighbour", code="WELCOME10")
    assert receipt(total).splitlines() == [
        "base             €3.99",
        "zone neighbour   €2.39",
        "discount        -€0.63",
        "total            €5.75",
    ]


def test_a_receipt_of_nothing_has_a_total():
    assert receipt(Quote(0)) == "total  €0.00"
