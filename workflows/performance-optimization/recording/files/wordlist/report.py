"""What is told of a text."""


def table(counts, width=12):
    """One line a word, aligned."""
    return "".join(f"{word:<{width}}{count:>6}\n" for word, count in counts)
