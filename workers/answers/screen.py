"""What a listener sees of an answer that must be JSON before it is judged: nothing that its end does not repeat.

What was shown is the beginning of the text that is given out, or the attempt has failed and another starts over.
"""

from __future__ import annotations

from collections.abc import Sequence

from job_contracts.chat import Answer
from job_contracts.stream import Delta, EndDelta, StartDelta, TextDelta, ToolCallDelta
from workers.answers.sieve import Sieve
from workers.streaming import TokenStream

__all__ = ["Screen"]


class Screen:
    """Stands before a ``TokenStream``. ``sieve``: what becomes of text; ``hold``: text and calls wait for the end."""

    __slots__ = ("_calls", "_hold", "_shown", "_sieve", "_stream")

    def __init__(self, stream: TokenStream, sieve: Sieve | None, *, hold: bool = False) -> None:
        self._stream = stream
        self._sieve = sieve
        self._hold = hold
        self._shown: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def start(self, delta: StartDelta, told: str = "") -> None:
        """As of the stream itself. What is judged is never gone on with, so there is nothing told before."""
        self._stream.start(delta, told)

    async def add(self, deltas: Sequence[Delta]) -> None:
        """More of the answer: what may be shown of it goes on."""
        due = [one for delta in deltas if (one := self._due(delta)) is not None]
        if due:
            await self._stream.add(due)

    async def claim(self, deltas: Sequence[Delta]) -> bool:
        """As of the stream itself; also where nothing may be shown yet, so that no other attempt is shown instead."""
        due = [one for delta in deltas if (one := self._due(delta)) is not None]
        return await self._stream.claim(due or [TextDelta(text="")])

    async def complete(self, answer: Answer) -> bool:
        """Shows what is left of the answer that is given out; false if something else was shown of it."""
        text, shown = answer.text, "".join(self._shown)
        if not text.startswith(shown):
            return False
        due: list[Delta] = [TextDelta(text=text[len(shown) :])] if len(text) > len(shown) else []
        for index, call in enumerate(answer.tool_calls):
            if self._hold:
                due.append(ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments))
            elif "".join(self._calls.get(index, ())).strip() not in ("", call.arguments.strip()):
                return False
        if due:
            await self._stream.add(due)
        return True

    async def end(self, delta: EndDelta) -> None:
        """As of the stream itself."""
        await self._stream.end(delta)

    def abandon(self) -> None:
        """As of the stream itself."""
        self._stream.abandon()

    def _due(self, delta: Delta) -> Delta | None:
        match delta:
            case TextDelta(text=text):
                kept = "" if self._hold else text if self._sieve is None else self._sieve.feed(text)
                self._shown.append(kept)
                return None if not kept else delta if kept is text else TextDelta(text=kept)
            case ToolCallDelta(index=index, arguments=arguments):
                if self._hold:
                    return None
                self._calls.setdefault(index, []).append(arguments)
        return delta
