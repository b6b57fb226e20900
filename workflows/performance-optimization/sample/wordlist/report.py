"""What is told of a text."""


def table(counts, width=12):
    """One line a word, aligned."""
    text = ""
    for word, count in counts:
        text = text + word.ljust(width) + str(count).rjust(6) + "\n"
    return text
