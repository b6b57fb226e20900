"""Words that are like each other."""


def anagrams(words):
    """Groups of two and more words of the same letters, in the alphabet's order."""
    groups = []
    for word in sorted(set(words)):
        for group in groups:
            if sorted(group[0]) == sorted(word):
                group.append(word)
                break
        else:
            groups.append([word])
    return [group for group in groups if len(group) > 1]
