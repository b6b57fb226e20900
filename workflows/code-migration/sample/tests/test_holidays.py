import os
import shutil
import tempfile
import unittest
from datetime import date

from calendar_tools import holidays


class HolidaysTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "holidays.txt")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def test_names_by_date(self):
        self.write("# of 2026\n2026-01-01 New Year\n\n25.12.2026 Christmas Day # the first\n")
        self.assertDictEqual(
            holidays.read(self.path), {date(2026, 1, 1): "New Year", date(2026, 12, 25): "Christmas Day"}
        )

    def test_an_empty_file_has_none(self):
        self.write("")
        self.assertEqual(len(holidays.read(self.path)), 0)

    def test_a_holiday_has_a_name(self):
        self.write("2026-01-01 New Year\n2026-05-01\n")
        with self.assertRaises(ValueError) as raised:
            holidays.read(self.path)
        self.assertIn("line 2", str(raised.exception))
