"""What a judge says of a rule that was broken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, by what, in words."""

    rule: str
    about: str
    words: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}: {self.words}"
