"""Cache marks of a message request: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching.

The API takes four, in the order tools, system, messages, and of these the ones kept for an hour first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job_contracts.chat import CacheFor
    from workers.dialects.encoding import Wanted

MOST = 4
TOOLS, SYSTEM, MESSAGES = range(3)


class Marks:
    """Collects the marks while the request is built, and puts those the API takes."""

    __slots__ = ("_found", "_wanted")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: list[tuple[int, dict[str, Any], CacheFor, str]] = []

    def note(self, place: int, block: dict[str, Any], cache: CacheFor, field: str) -> None:
        """The prompt up to and with ``block`` is worth caching; ``field`` is where the conversation says so."""
        self._found.append((place, block, cache, field))

    def put(self) -> None:
        """Marks on the blocks: of more than four the last ones, as they cover most."""
        if not self._found:
            return
        losses = self._wanted.losses
        marks = sorted(self._found, key=lambda mark: mark[0])
        if self._wanted.refused("cache", field=marks[0][3]):
            return
        for _, _, _, field in marks[:-MOST]:
            losses.add("dropped", field, f"of {len(marks)} cache marks the last {MOST} are sent")
        short = False
        for _, block, cache, field in marks[-MOST:]:
            block["cache_control"] = {"type": "ephemeral"}
            if cache == "1h" and short:
                losses.add("clamped", field, "1h to 5m: it follows a mark of five minutes")
            elif cache == "1h":
                block["cache_control"]["ttl"] = cache
            else:
                short = True
