"""An answer that comes piece by piece, for one reader: it ends with its source, its reader, or its session.

Whichever of them ends first, the source is closed before the request is, so what it does for the reader ends as well.
The next piece is made when the last one was taken: a slow reader makes the source wait, and one that takes nothing is
let go.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

LOOK = 1.0
"""Seconds between two looks at the session."""
STALL = 60.0
"""Seconds a reader may take for one piece."""
FAREWELL = 2.0
"""Seconds for the last word."""


class Flowing(StreamingResponse):
    """Events of ``pieces``. ``ends``: the last word where session or console have ended; empty while neither has."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], ends: Callable[[], Awaitable[bytes]]) -> None:
        super().__init__(pieces, headers={"x-accel-buffering": "no"}, media_type="text/event-stream")
        self._pieces, self._ends = pieces, ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        begun = False

        async def patient(message: Message) -> None:
            nonlocal begun
            async with asyncio.timeout(STALL):
                await send(message)
            begun = True

        sending = asyncio.create_task(self.stream_response(patient), name="flow")
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        ended = asyncio.create_task(self._ended())
        tasks = {sending, gone, ended}
        try:
            first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._pieces.aclose()
        if first == {ended} and begun:
            await _last_word(ended.result(), send)

    async def _ended(self) -> bytes:
        while True:
            last = await self._ends()
            if last:
                return last
            await asyncio.sleep(LOOK)


async def _last_word(said: bytes, send: Send) -> None:
    """Whoever does not take it in time does without."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL):
            await send({"type": "http.response.body", "body": said, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
