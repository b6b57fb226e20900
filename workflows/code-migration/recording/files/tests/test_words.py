from datetime import date

import pytest

from calendar_tools import words


@pytest.fixture(autouse=True)
def today(monkeypatch):
    monkeypatch.setattr(words, "today", lambda: date(2026, 3, 6))


def test_a_day_is_named_from_today():
    assert words.day(date(2026, 3, 6)) == "today"
    assert words.day(date(2026, 3, 7)) == "tomorrow"
    assert words.day(date(2026, 3, 5)) == "yesterday"
    assert words.day(date(2026, 3, 8)) == "2026-03-08"


def test_a_clock():
    assert words.clock(545) == "9:05"
    with pytest.raises(ValueError):
        words.clock(1440)


def test_hours():
    assert words.hours(50) == pytest.approx(0.833, abs=0.005)
