"""What is measured: the work of the package on a text that is the same every time. Prints the seconds of it as JSON."""

import json
import random
import time

from wordlist import alike, report, words

LETTERS = "etaoinshrdlu"


def text(size):
    source = random.Random(7)
    known = ["".join(source.choices(LETTERS, k=source.randint(2, 5))) for _ in range(size)]
    return " ".join(source.choices(known, k=5 * size))


def main():
    given = text(9)
    begin = time.process_time()
    found = words.split(given)
    counted = words.counts(found)
    groups = alike.anagrams(found)
    told = report.table(counted)
    seconds = time.process_time() - begin
    print(json.dumps({"seconds": seconds, "words": len(found), "groups": len(groups), "letters": len(told)}))


if __name__ == "__main__":
    main()
