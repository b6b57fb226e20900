"""Words and how often they come."""

import re


def split(text):
    """The words of a text in small letters, in their order."""
    return [word.lower() for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text)]


def counts(words):
    """How often each word comes, the most frequent first, and the alphabet where two come as often."""
    found = []
    for word in words:
        if word not in [known for known, _ in found]:
            found.append((word, words.count(word)))
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))
