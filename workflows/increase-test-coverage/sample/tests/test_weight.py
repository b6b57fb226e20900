import pytest

from parcel import parse_weight


@pytest.mark.parametrize(
    ("text", "grams"),
    [("750 g", 750), ("1,5kg", 1_500), ("2 lb", 908), ("  80  ", 80), ("0.2g", 1)],
)
def test_weights_are_read_as_people_write_them(text, grams):
    assert parse_weight(text) == grams


@pytest.mark.parametrize("text", ["", "heavy", "-1 kg", "1 stone"])
def test_what_is_no_weight_is_refused(text):
    with pytest.raises(ValueError):
        parse_weight(text)
