"""So much at once for each: nobody takes what all share, be it by a script, or by a browser with many pages."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from console.asking import NoAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from console.people import Person

AT_ONCE, AT_ONCE_OF_PROJECT = 8, 2
"""States, pages and files that are made at once: for a person, for all keys of a project. Leader and ledger answer two
to four such questions at a time, whoever asks."""
IN_LINE = 50
"""Those that wait for that at most; a further one is refused."""


class Turns:
    """Whose turn it is."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, person: Person) -> AsyncIterator[None]:
        """Wait for one, and have it. Raises NoAnswer where too many wait."""
        line = self._lines.get(person.whose)
        if line is None:
            at_once = AT_ONCE if person.project is None else AT_ONCE_OF_PROJECT
            line = self._lines[person.whose] = _Line(at_once)
        if line.there >= IN_LINE + line.at_once:
            raise NoAnswer("more pages are asked for in your name than are made at once")
        line.there += 1
        try:
            async with line.places:
                yield
        finally:
            line.there -= 1
            if not line.there and self._lines.get(person.whose) is line:
                del self._lines[person.whose]


class _Line:
    def __init__(self, at_once: int) -> None:
        self.at_once, self.places, self.there = at_once, asyncio.Semaphore(at_once), 0
