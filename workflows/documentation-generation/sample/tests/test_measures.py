import pytest

from measures import amount, duration, length


def test_lengths():
    assert length.parse("1,5 km") == length.Length(1500)
    assert length.parse("1 ft").to("in") == pytest.approx(12)
    assert (length.Length(1) + length.Length(2)).metres == 3
    with pytest.raises(ValueError, match="no unit of length: mile"):
        length.parse("1 mile")
    with pytest.raises(ValueError, match="not below zero"):
        length.Length(-1)


def test_durations():
    assert duration.parse("1h 30min") == 5400
    assert duration.say(5400) == "1 h 30 min"
    assert duration.say(90061, parts=3) == "1 d 1 h 1 min"
    assert duration.say(0) == "0 s"
    with pytest.raises(ValueError, match="no duration: soon"):
        duration.parse("soon")


def test_amounts():
    assert amount.parse("3") == 300
    assert amount.split(100, 3) == [34, 33, 33]
    with pytest.raises(ValueError, match="nobody"):
        amount.split(100, 0)
