from datetime import date

import pytest

from calendar_tools import days


def test_both_forms_are_read():
    assert days.parse("2026-03-01") == date(2026, 3, 1)
    assert days.parse("1.3.2026") == date(2026, 3, 1)


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-03", "1.3", "a-b-c"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match="no date"):
        days.parse(text)


@pytest.fixture
def friday():
    return date(2026, 3, 6)


@pytest.fixture
def monday():
    return date(2026, 3, 9)


def test_a_weekend_is_free(friday):
    assert days.is_working(friday)
    assert not days.is_working(date(2026, 3, 7))
    assert not days.is_working(date(2026, 3, 8))


def test_a_holiday_is_free(friday):
    assert not days.is_working(friday, holidays=[friday])


def test_working_days_are_counted_over_a_weekend(friday, monday):
    assert days.add_working(friday, 1) == monday
    assert days.add_working(monday, -1) == friday
    assert days.add_working(friday, 0) == friday


def test_holidays_are_not_counted(friday, monday):
    assert days.add_working(friday, 1, holidays=[monday]) == date(2026, 3, 10)
