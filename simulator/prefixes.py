"""The prompt caches of the providers: which prefix of a prompt has been seen lately (pure).

Two ways, as the providers do it: by itself in blocks of tokens (OpenAI, Gemini), and up to marks that the caller sets
(Anthropic: what is marked is written and billed, and found again at any segment's end in later prompts).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

BLOCK_TOKENS = 128
BLOCK_CHARACTERS = 4 * BLOCK_TOKENS

LOOK_BACK = 20
"""Segments before a mark at which an earlier write is still found."""

MOST_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Cached:
    """Tokens of a prompt's prefix that are read from the cache and that will be written to it, with its ``entries``."""

    read: int = 0
    written: int = 0
    entries: tuple[bytes, ...] = ()


NOTHING = Cached()


class PrefixCache:
    """Prefixes by hash, forgotten ``seconds`` after they were last used. ``owner`` keeps keys and models apart.

    Looking a prompt up changes nothing; ``remember`` does, once the request has been admitted.
    """

    def __init__(self, minimum: int, seconds: float) -> None:
        self._minimum = minimum
        self._seconds = seconds
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def blocks(self, owner: str, prompt: list[str], tokens: int, now: float) -> Cached:
        """The automatic way: the longest known prefix in whole blocks; the entries are all of this prompt's blocks."""
        if tokens < self._minimum:
            return NOTHING
        text = "\x1e".join(prompt).encode("utf-8", "surrogatepass")
        chain = hashlib.blake2b(owner.encode(), digest_size=16)
        entries: list[bytes] = []
        for end in range(BLOCK_CHARACTERS, len(text) + 1, BLOCK_CHARACTERS):
            chain.update(text[end - BLOCK_CHARACTERS : end])
            entries.append(chain.digest())
        known = 0
        while known < len(entries) and self._fresh(entries[known], now):
            known += 1
        read = min(known * BLOCK_TOKENS, tokens - 1)
        return Cached(read=read if read >= self._minimum else 0, entries=tuple(entries))

    def marked(self, owner: str, prompt: list[str], marks: list[int], now: float) -> Cached:
        """The explicit way: up to the last mark; ``marks`` are exclusive ends of segments of ``prompt``."""
        last = max(marks, default=0)
        if not last:
            return NOTHING
        ends: list[tuple[bytes, int]] = []
        chain = hashlib.blake2b(owner.encode(), digest_size=16)
        characters = 0
        for segment in prompt[:last]:
            chain.update(b"\x1e" + segment.encode("utf-8", "surrogatepass"))
            characters += len(segment)
            ends.append((chain.digest(), (characters + 3) // 4))
        written = ends[last - 1][1]
        if written < self._minimum:
            return NOTHING
        read = 0
        for entry, tokens in reversed(ends[max(0, last - 1 - LOOK_BACK) :]):
            if self._fresh(entry, now):
                read = tokens
                break
        entries = tuple(ends[mark - 1][0] for mark in marks if ends[mark - 1][1] >= self._minimum)
        return Cached(read=read, written=written - read, entries=entries)

    def remember(self, cached: Cached, now: float) -> None:
        """The prompt has been processed: its entries are known from now on."""
        for entry in cached.entries:
            self._seen[entry] = now
            self._seen.move_to_end(entry)
        while len(self._seen) > MOST_ENTRIES:
            self._seen.popitem(last=False)

    def clear(self) -> None:
        self._seen.clear()

    def _fresh(self, entry: bytes, now: float) -> bool:
        at = self._seen.get(entry)
        return at is not None and now - at < self._seconds
