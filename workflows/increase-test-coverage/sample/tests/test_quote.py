from parcel import Parcel, quote


def test_a_small_parcel_at_home_costs_the_base_rate():
    result = quote(Parcel(grams=450, length=20, width=10, height=5))
    assert result.cents == 399
    assert result.lines == [("base", 399)]


def test_a_zone_adds_its_percentage():
    result = quote(Parcel(grams=1_500, length=30, width=20, height=10), "neighbour")
    assert result.cents == 549 + 329
