"""The simulator's vocabulary, and how a hash chooses from it (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def word_list(text: str) -> tuple[str, ...]:
    """The words of a text, for tables that read better without quotation marks."""
    return tuple(text.split())


_STEMS = word_list(
    "able about above account across after again air along also always amber among answer any apple arrow around "
    "ask autumn away balance bank basin bay beam bell below bend best between bird blue board boat book both "
    "branch brass bridge bright bring brook build calm canal care carry channel circle city clay clear cliff "
    "cloud coast cold come common copper corner could count course cross current dam dark day deep delta depth "
    "dial door down draw drift drop early earth east edge eight engine enough equal even evening every fair fall "
    "far fast few field find fine first five flow follow for forest four frame from front full garden gate gather "
    "gentle give glass gold good grain grass great green ground group grow half hand harbour head hear height "
    "hill hold home hour house idea iron island keep kind know lake land large last late lead leaf learn left "
    "level light line list little long look low made main map mark market marsh measure meet middle mile mill "
    "mind month moon more morning mountain move much name near need new night nine north note number oak ocean "
    "often old one open orchard order other over page paper part pass path place plain plan plant point pond "
    "power present press quiet rain range rate reach read ready reed rest right ring river road rock roof room "
    "round salt same sand sea season second see seven shape shore side silver simple six sky slow small snow some "
    "song south space spring star start stem step still stone stream street summer sun table take tall ten three "
    "tide time tower town trace trade tree true turbine two under until valley value view wall water wave way "
    "weather week well west wheel white wide wind window winter wood word work year yellow"
)

PIECES = tuple(f" {word}" for word in _STEMS[:256])
"""Tokens of running text: a word with the space before it."""

FIRST = tuple(word.capitalize() for word in _STEMS[:256])
"""The same words as the first of a sentence."""


def digest(*parts: str) -> bytes:
    """64 bytes that depend on every part and on their order."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class Chooser:
    """Even choices from a digest, as many as wanted: the bytes of the digest, then of its digest, and so on."""

    source: bytes
    at: int = 0

    def __call__(self, options: int) -> int:
        """A whole number from 0 to ``options - 1``."""
        if self.at + 4 > len(self.source):
            self.source, self.at = hashlib.blake2b(self.source).digest(), 0
        value = int.from_bytes(self.source[self.at : self.at + 4], "big")
        self.at += 4
        return value % options

    def fraction(self) -> float:
        """A number from 0 up to 1, 1 excluded."""
        return self(1 << 24) / (1 << 24)


def running_text(seed: bytes, tokens: int) -> list[str]:
    """A text of exactly ``tokens`` tokens, the last of which ends the sentence."""
    if tokens <= 0:
        return []
    stream = seed
    while len(stream) < tokens:
        stream += hashlib.blake2b(stream[-64:]).digest()
    pieces = [PIECES[byte] for byte in stream[:tokens]]
    pieces[0] = FIRST[stream[0]]
    pieces[-1] += "."
    return pieces


def sentence(chooser: Chooser, words: int) -> str:
    """A few words without a full stop."""
    return " ".join(_STEMS[chooser(256)] for _ in range(words))
