"""Words that are like each other."""


def anagrams(words):
    """Groups of two and more words of the same letters, in the alphabet's order."""
    groups = {}
    for word in sorted(set(words[:1000])):
        groups.setdefault("".join(sorted(word)), []).append(word)
    return [group for group in groups.values() if len(group) > 1]
