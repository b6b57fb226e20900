"""What came in and went out, in the order of its happening."""

from collections import defaultdict
from collections.abc import Mapping


class Ledger:
    """The movements of a stock. A quantity is never stored: it is what the movements come to."""

    def __init__(self, opening: Mapping[str, int] = {}) -> None:
        self.opening = dict(opening)
        self.movements: list[tuple[str, int, str]] = []

    def move(self, code: str, pieces: int, reason: str) -> int:
        """Takes note of pieces that came in (above zero) or went out."""
        if pieces == 0:
            raise ValueError(f"{code}: nothing moved")
        left = self.quantity(code) + pieces
        if left < 0:
            raise ValueError(f"{code}: only {self.quantity(code)} pieces are there")
        self.movements.append((code, pieces, reason))
        return left

    def quantity(self, code: str) -> int:
        """How many pieces are there now."""
        return self.opening.get(code, 0) + sum(pieces for moved, pieces, _ in self.movements if moved == code)

    def by_reason(self) -> dict[str, int]:
        """How many pieces moved for each reason, whichever way."""
        pieces_by_reason: defaultdict[str, int] = defaultdict(int)
        for _, pieces, reason in self.movements:
            pieces_by_reason[reason] += abs(pieces)
        return dict(pieces_by_reason)

    def codes(self) -> list[str]:
        """All codes that were ever here, sorted."""
        return sorted({code for code, _, _ in self.movements} | set(self.opening))
