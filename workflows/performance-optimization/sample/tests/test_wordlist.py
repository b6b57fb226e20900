from wordlist import alike, report, words


def test_words_are_split():
    assert words.split("It's 3 o'clock: _Come_ home, come!") == ["it's", "o'clock", "come", "home", "come"]


def test_words_are_counted():
    assert words.counts(["b", "a", "c", "a", "b"]) == [("a", 2), ("b", 2), ("c", 1)]
    assert words.counts([]) == []


def test_anagrams_are_found():
    assert alike.anagrams(["pots", "stop", "top", "opts", "stop", "pot"]) == [["opts", "pots", "stop"], ["pot", "top"]]


def test_a_table_is_aligned():
    assert report.table([("a", 2), ("word", 10)], width=5) == "a         2\nword     10\n"
