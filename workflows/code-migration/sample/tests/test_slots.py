from unittest import TestCase

from calendar_tools import slots


class SlotsTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.meetings = [(600, 660), (540, 570), (630, 700)]

    def test_gaps_are_found_in_any_order(self):
        self.assertListEqual(slots.free(self.meetings), [(570, 600), (700, 1020)])

    def test_a_day_without_meetings_is_free(self):
        self.assertEqual(slots.free([]), [(540, 1020)])

    def test_a_full_day_has_no_gap(self):
        for meetings in ([(540, 1020)], [(500, 1100)], [(540, 800), (700, 1020)]):
            with self.subTest(meetings=meetings):
                self.assertEqual(slots.free(meetings), [])

    def test_a_meeting_ends_after_it_begins(self):
        self.assertRaises(ValueError, slots.free, [(600, 600)])

    def test_the_first_room(self):
        self.assertEqual(slots.first(self.meetings, 30), 570)
        self.assertEqual(slots.first(self.meetings, 31), 700)
        self.assertIsNone(slots.first(self.meetings, 400))
