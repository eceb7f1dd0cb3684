"""The one JSON value of a text, as it comes: words around it are left out, and commas before a closing bracket. Pure.

Only an object or an array is looked for: where a number or a word begins and ends cannot be told from what stands
around it. What is kept is not known to be JSON; a judge reads it when it is whole.
"""

from __future__ import annotations

import re

__all__ = ["Sieve"]

_OPEN = re.compile(r"[{\[]")
_OUTSIDE = re.compile(r'["{}\[\],]')
_INSIDE = re.compile(r'["\\]')
_NEXT = re.compile(r"\S")


class Sieve:
    """Takes pieces of a text and gives what is kept of them.

    ``words``: whether words may stand before the value. Without it a text that begins with anything else is kept back.
    """

    __slots__ = ("_after", "_before", "_comma", "_depth", "_escaped", "_open", "_quoted", "_words", "commas")

    def __init__(self, *, words: bool = True) -> None:
        self._words = words
        self._before = ""
        self._after: list[str] = []
        self._open = False
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._comma = ""
        """A comma outside of strings, and the space behind it, until it is known what follows."""
        self.commas = 0
        """Commas that were left out."""

    @property
    def before(self) -> str:
        """What stood before the value; all there is, where no value has begun."""
        return self._before

    @property
    def after(self) -> str:
        """What stood behind it."""
        return "".join(self._after)

    @property
    def whole(self) -> bool:
        """Whether the value has ended."""
        return self._open and not self._depth

    def feed(self, piece: str) -> str:
        """More of the text; returns what is kept of it."""
        if self.whole:
            self._after.append(piece)
            return ""
        lead = ""
        if not self._open:
            lead, piece = self._begin(piece)
            if not self._open:
                return ""
        return lead + self._within(piece)

    def end(self) -> str:
        """The text is over: space at its end is kept, so that nothing of a clean text is missing."""
        return self.after if self.whole and not self.after.strip() else ""

    def _begin(self, piece: str) -> tuple[str, str]:
        """Looks for the first bracket. Space before it is kept, words are not."""
        found = _OPEN.search(piece) if self._words or not self._before.strip() else None
        if found is None or (not self._words and piece[: found.start()].strip()):
            self._before += piece
            return "", ""
        self._before += piece[: found.start()]
        self._open = True
        return "" if self._before.strip() else self._before, piece[found.start() :]

    def _within(self, piece: str) -> str:
        kept: list[str] = []
        at = 0
        while at < len(piece):
            if self._escaped:
                self._escaped = False
                kept.append(piece[at])
                at += 1
                continue
            if self._comma and (at := self._after_comma(piece, at, kept)) == len(piece):
                break
            found = (_INSIDE if self._quoted else _OUTSIDE).search(piece, at)
            if found is None:
                kept.append(piece[at:])
                break
            mark, end = found[0], found.end()
            if mark == "," and not self._quoted:
                kept.append(piece[at : end - 1])
                self._comma = ","
            else:
                kept.append(piece[at:end])
                self._meet(mark)
            at = end
            if not self._depth:
                self._after.append(piece[at:])
                break
        return "".join(kept)

    def _after_comma(self, piece: str, at: int, kept: list[str]) -> int:
        """What follows a comma decides whether it stays. Returns where that stands."""
        found = _NEXT.search(piece, at)
        if found is None:
            self._comma += piece[at:]
            return len(piece)
        held = self._comma + piece[at : found.start()]
        self._comma = ""
        if found[0] in "}]":
            self.commas += 1
            held = held[1:]
        kept.append(held)
        return found.start()

    def _meet(self, mark: str) -> None:
        match mark:
            case '"':
                self._quoted = not self._quoted
            case "\\":
                self._escaped = True
            case "{" | "[":
                self._depth += 1
            case _:
                self._depth -= 1
