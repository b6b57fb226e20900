import unittest
from datetime import date
from unittest import mock

from calendar_tools import words


class WordsTest(unittest.TestCase):
    def setUp(self):
        patcher = mock.patch("calendar_tools.words.today", return_value=date(2026, 3, 6))
        self.today = patcher.start()
        self.addCleanup(patcher.stop)

    def test_a_day_is_named_from_today(self):
        self.assertEqual(words.day(date(2026, 3, 6)), "today")
        self.assertEqual(words.day(date(2026, 3, 7)), "tomorrow")
        self.assertEqual(words.day(date(2026, 3, 5)), "yesterday")
        self.assertEqual(words.day(date(2026, 3, 8)), "2026-03-08")
        self.assertEqual(self.today.call_count, 4)

    def test_a_clock(self):
        self.assertEqual(words.clock(545), "9:05")
        with self.assertRaises(ValueError):
            words.clock(1440)

    def test_hours(self):
        self.assertAlmostEqual(words.hours(50), 0.833, places=2)
