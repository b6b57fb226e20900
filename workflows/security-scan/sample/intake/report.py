"""What came in, in a file of its own."""

import os
import tempfile


def write(rows):
    """Writes rows into a new file, separated by semicolons, and gives its path."""
    path = tempfile.mktemp(suffix=".csv")
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(";".join(str(cell) for cell in row) + "\n")
    return path


def remove(path):
    """Removes a report. That it is gone already is no reason to stop."""
    try:
        os.remove(path)
    except Exception:
        pass
