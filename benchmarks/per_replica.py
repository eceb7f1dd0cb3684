"""A limiter as replicated proxies have it: every replica counts for itself. One process is one replica.

    python -m benchmarks.per_replica ORDER

``ORDER`` is JSON: ``seconds``, ``window`` and a list of ``streams``, each with the ``url`` and ``model`` to call, the
``limit`` this replica believes in, requests in ``window`` seconds, ``offered``, requests a second that come to it, and
whether it is ``paced``. It counts in fixed windows, or lets one through every ``window / limit`` seconds. What does not
fit waits for its turn; what the provider refuses is not tried again. Prints one JSON line: sent and refused by stream.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import httpx
import uvloop

WAITING = 64
"""Requests of a stream that may wait here for the next window: further ones are dropped before they are sent."""


class Counter:
    """Requests of one replica in fixed windows."""

    def __init__(self, limit: int, window: float, *, paced: bool) -> None:
        self._limit = 1 if paced else limit
        self._window = window / limit if paced else window
        self._begin = time.monotonic()
        self._count = 0

    async def turn(self) -> None:
        """Return when there is room in this replica's own count."""
        while True:
            passed = time.monotonic() - self._begin
            if passed >= self._window:
                self._begin += self._window * (passed // self._window)
                self._count = 0
            if self._count < self._limit:
                self._count += 1
                return
            await asyncio.sleep(max(0.001, self._begin + self._window - time.monotonic()))


async def stream(client: httpx.AsyncClient, order: dict[str, Any], window: float, until: float) -> dict[str, int]:
    """One stream of requests; counts what was sent and what was refused."""
    counter = Counter(order["limit"], window, paced=order["paced"])
    told = {"sent": 0, "refused": 0}
    body = {"model": order["model"], "messages": [{"role": "user", "content": "Say a word."}]}

    async def one() -> None:
        await counter.turn()
        if time.monotonic() >= until:
            return
        answer = await client.post(
            f"{order['url']}/v1/chat/completions", json=body, headers={"authorization": "Bearer b"}
        )
        told["sent"] += 1
        told["refused"] += answer.status_code == httpx.codes.TOO_MANY_REQUESTS

    tasks: set[asyncio.Task[None]] = set()
    begin, due = time.monotonic(), 0
    while time.monotonic() < until:
        due += 1
        await asyncio.sleep(max(0.0, begin + due / order["offered"] - time.monotonic()))
        if len(tasks) < WAITING:
            tasks.add(task := asyncio.create_task(one()))
            task.add_done_callback(tasks.discard)
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return told


async def replica(order: dict[str, Any]) -> dict[str, dict[str, int]]:
    """All streams at once."""
    until = time.monotonic() + order["seconds"]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        told = await asyncio.gather(*(stream(client, one, order["window"], until) for one in order["streams"]))
    return {one["model"]: counts for one, counts in zip(order["streams"], told, strict=True)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(replica(json.loads(sys.argv[1])))))
