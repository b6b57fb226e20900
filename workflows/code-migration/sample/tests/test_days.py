import unittest
from datetime import date

from calendar_tools import days


class ParseTest(unittest.TestCase):
    def test_both_forms_are_read(self):
        self.assertEqual(days.parse("2026-03-01"), date(2026, 3, 1))
        self.assertEqual(days.parse("1.3.2026"), date(2026, 3, 1))

    def test_what_is_no_date_is_refused(self):
        for text in ["", "tomorrow", "2026-03", "1.3", "a-b-c"]:
            with self.subTest(text=text):
                with self.assertRaisesRegex(ValueError, "no date"):
                    days.parse(text)


class WorkingTest(unittest.TestCase):
    def setUp(self):
        self.friday = date(2026, 3, 6)
        self.monday = date(2026, 3, 9)

    def test_a_weekend_is_free(self):
        self.assertTrue(days.is_working(self.friday))
        self.assertFalse(days.is_working(date(2026, 3, 7)))
        self.assertFalse(days.is_working(date(2026, 3, 8)))

    def test_a_holiday_is_free(self):
        self.assertFalse(days.is_working(self.friday, holidays=[self.friday]))

    def test_working_days_are_counted_over_a_weekend(self):
        self.assertEqual(days.add_working(self.friday, 1), self.monday)
        self.assertEqual(days.add_working(self.monday, -1), self.friday)
        self.assertEqual(days.add_working(self.friday, 0), self.friday)

    def test_holidays_are_not_counted(self):
        self.assertEqual(days.add_working(self.friday, 1, holidays=[self.monday]), date(2026, 3, 10))


if __name__ == "__main__":
    unittest.main()
