"""Streams of server-sent events as a client reads them that may be cut anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import httpx


class Reachable(Protocol):
    """An edge that there is a client of."""

    client: httpx.AsyncClient


@dataclass
class Heard:
    """What a client has of a stream: whole events (their lines joined), and the id of the last one."""

    events: list[str] = field(default_factory=list)
    last: str | None = None
    """As ``Last-Event-ID`` says it."""
    whole: bool = False
    """Whether the stream ended as HTTP has it."""
    status: int = 0
    text: str = ""
    """The body of an answer that is no stream."""

    def take(self, event: str) -> None:
        """One event, without the empty line at its end; comments are left out."""
        lines = [line for line in event.split("\n") if not line.startswith(":")]
        if lines:
            self.events.append("\n".join(lines))
        for line in lines:
            if line.startswith("id: "):
                self.last = line[4:]


async def hear(
    edge: Reachable,
    body: dict[str, object],
    *,
    key: str | None = None,
    seen: str | None = None,
    most: int = -1,
    into: Heard | None = None,
) -> Heard:
    """Ask an edge for a stream and read ``most`` of its events (all of them if negative), then hang up.

    ``into`` takes what is heard while it comes.
    """
    heard = into or Heard()
    headers = {} if key is None else {"idempotency-key": key}
    if seen is not None:
        headers["last-event-id"] = seen
    asked = edge.client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}, headers=headers)
    try:
        async with asked as answer:
            heard.status = answer.status_code
            if heard.status != 200:
                heard.text = (await answer.aread()).decode()
                return heard
            left = ""
            async for piece in answer.aiter_text():
                left += piece
                while "\n\n" in left and len(heard.events) != most:
                    event, _, left = left.partition("\n\n")
                    heard.take(event)
                if len(heard.events) == most:
                    return heard
            heard.whole = True
    except (httpx.RemoteProtocolError, httpx.ReadError):
        pass  # cut
    return heard
