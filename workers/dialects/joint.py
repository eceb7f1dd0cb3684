"""The joint of an answer that one attempt began and another goes on with: a repetition of what was sent is said once.

What was sent stands. It is a body and the blanks at its end; a model is given the body alone, since blanks at the end
of a prompt spoil what follows and some providers refuse them. It may say the end of the body again before it goes on.
Words at its start count as such a repetition only if they are, letter by letter, the end of the body from the beginning
of a word on, and

- all of the body, where the target is known to say it again (``echoes``); or
- long: ``LONG`` characters of at least ``WORDS`` words that the body has not said before and that do not repeat
  themselves; a text that goes in circles may well go round once more; or
- glued: two words or more, of ``GLUED`` characters, that come without a blank after a letter (``foxbrown fox``).

After it blanks at the start are said as far as what was sent does not end in them. Nothing else is ever left out:
shorter words that are said twice stay, because an answer may mean them. What may still become a repetition is held
back; how the text is cut into pieces makes no difference.
"""

from __future__ import annotations

import re

__all__ = ["GLUED", "LONG", "REACH", "WORDS", "Joint", "joined"]

LONG, WORDS, GLUED = 16, 3, 8
REACH = 400
"""Characters at the end of the body in which a repetition begins, if it is not all of it."""

_WORD = re.compile(r"[^\W\d_]{2,}")


class Joint:
    """Takes what the next attempt says, piece by piece, and gives what follows on ``sent``."""

    __slots__ = ("_blanks", "_body", "_echoes", "_held", "_places", "_settled", "_start")

    def __init__(self, sent: str, *, echoes: bool = False) -> None:
        self._body = sent.rstrip()
        self._blanks = sent[len(self._body) :]
        self._start = len(self._body) - len(self._body.lstrip())
        self._echoes = echoes
        self._held = ""
        self._places: list[int] | None = None
        """Where in the body what is held may begin as a repetition; ``None`` before its first letter."""
        self._settled = not sent

    def take(self, piece: str) -> str:
        """What of it, and of what was held before, is due now."""
        if self._settled:
            return piece
        self._held += piece
        said = self._held.lstrip()
        if not said:
            return ""
        places = self._beginnings() if self._places is None else self._places
        self._places = [at for at in places if self._agree(said, at)]
        glued = len(said) == len(self._held)
        open_to = [at for at in self._places if self._counts(at, glued=glued)]
        if any(len(self._body) - at > len(said) for at in open_to):
            return ""
        eaten = len(self._held) - len(said) + len(self._body) - open_to[0] if open_to else 0
        return self._follow(self._held[eaten:], last=False)

    def end(self) -> str:
        """The attempt says no more: what is held is due."""
        if self._settled or not self._held:
            return ""
        said = self._held.lstrip()
        places = [] if not said else (self._places or [])
        glued = len(said) == len(self._held)
        whole = [at for at in places if len(self._body) - at <= len(said) and self._counts(at, glued=glued)]
        eaten = len(self._held) - len(said) + len(self._body) - whole[0] if whole else 0
        return self._follow(self._held[eaten:], last=True)

    # -- blanks

    def _follow(self, rest: str, *, last: bool) -> str:
        """``rest`` without the blanks that ``sent`` ends in; held while more of those may come."""
        blanks = self._blanks
        if not last and len(rest) < len(blanks) and blanks.startswith(rest):
            return ""
        self._settled = True
        self._held = ""
        own = rest[: len(rest) - len(rest.lstrip())]
        if own.startswith(blanks):
            return rest[len(blanks) :]
        return rest[len(own) :] if blanks.startswith(own) else rest

    # -- what counts as a repetition

    def _beginnings(self) -> list[int]:
        """Places of words near the end of the body, the longest repetition first."""
        body, first = self._body, max(len(self._body) - REACH, self._start)
        near = (at for at in range(first, len(body)) if at == self._start or _word_begins(body, at))
        return [self._start, *near] if first > self._start else list(near)

    def _agree(self, said: str, at: int) -> bool:
        """Whether what is said is how the body goes on from there, as far as both reach."""
        reach = min(len(said), len(self._body) - at)
        return self._body.startswith(said[:reach], at)

    def _counts(self, at: int, *, glued: bool) -> bool:
        words, body = self._body[at:], self._body
        if not words:
            return False
        if self._echoes and at == self._start:
            return True
        found = _WORD.findall(words)
        apart = not glued or self._blanks or not (words[0].isalpha() and words[-1].isalpha())
        if not apart and len(words) >= GLUED and len(found) > 1:
            return not _circles(words)
        return len(words) >= LONG and len(set(found)) >= WORDS and body.find(words) == at and not _circles(words)


def _word_begins(text: str, at: int) -> bool:
    """Of a word, or of what stands between two."""
    return not text[at].isspace() and not (text[at].isalnum() and text[at - 1].isalnum())


def _circles(text: str) -> bool:
    """Whether it is one run of characters said twice or more often, the last time perhaps in part."""
    return any(text.startswith(text[period:]) for period in range(1, len(text) // 2 + 1))


def joined(sent: str, said: str, *, echoes: bool = False) -> str:
    """The whole answer."""
    joint = Joint(sent, echoes=echoes)
    return sent + joint.take(said) + joint.end()
