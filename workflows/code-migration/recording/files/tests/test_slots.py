import pytest

from calendar_tools import slots


@pytest.fixture(scope="module")
def meetings():
    return [(600, 660), (540, 570), (630, 700)]


def test_gaps_are_found_in_any_order(meetings):
    assert slots.free(meetings) == [(570, 600), (700, 1020)]


def test_a_day_without_meetings_is_free():
    assert slots.free([]) == [(540, 1020)]


@pytest.mark.parametrize("full", [[(540, 1020)], [(500, 1100)], [(540, 800), (700, 1020)]])
def test_a_full_day_has_no_gap(full):
    assert slots.free(full) == []


def test_a_meeting_ends_after_it_begins():
    with pytest.raises(ValueError):
        slots.free([(600, 600)])


def test_the_first_room(meetings):
    assert slots.first(meetings, 30) == 570
    assert slots.first(meetings, 31) == 700
    assert slots.first(meetings, 400) is None
