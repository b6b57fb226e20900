from datetime import date

import pytest

from calendar_tools import holidays


@pytest.fixture
def path(tmp_path):
    return tmp_path / "holidays.txt"


def test_names_by_date(path):
    path.write_text("# of 2026\n2026-01-01 New Year\n\n25.12.2026 Christmas Day # the first\n", encoding="utf-8")
    assert holidays.read(path) == {date(2026, 1, 1): "New Year", date(2026, 12, 25): "Christmas Day"}


def test_an_empty_file_has_none(path):
    path.write_text("", encoding="utf-8")
    assert len(holidays.read(path)) == 0


def test_a_holiday_has_a_name(path):
    path.write_text("2026-01-01 New Year\n2026-05-01\n", encoding="utf-8")
    with pytest.raises(ValueError) as raised:
        holidays.read(path)
    assert "line 2" in str(raised.value)
