"""The main port: health, metrics, the control interface, and every provider by path.

GET /livez, /readyz      200 while the process serves; every provider listens by then, or refuses on purpose
GET /metrics             Prometheus text
*   /_control...         see ``control_http``
*   /x/PROVIDER/...      that provider, whatever has become of its port
*   anything else        the first provider whose dialect knows the path, best one whose kind of key is sent
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from simulator.connection import Exchange
from simulator.control import Control
from simulator.control_http import CONTROL, answer
from simulator.metrics import exposition
from simulator.provider import Provider
from simulator.wire import JSON, TEXT, Request, whole

BY_NAME = "/x/"


class Front:
    """Handles the requests of the main port."""

    def __init__(self, providers: dict[str, Provider], control: Control, url: Callable[[], str]) -> None:
        self._providers = providers
        self._control = control
        self._url = url
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer a request of the main port."""
        path = request.path
        if path.startswith(CONTROL):
            task = asyncio.get_running_loop().create_task(self._answer_control(request, exchange))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif path in ("/livez", "/readyz"):
            exchange.reply(whole(200, JSON, b'{"status":"ok"}'))
        elif path == "/metrics":
            exchange.reply(whole(200, TEXT, exposition(self._control.meter(), self._control.audit())))
        else:
            self._hand_on(request, exchange)

    async def stop(self) -> None:
        """Let the control requests in progress end."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _answer_control(self, request: Request, exchange: Exchange) -> None:
        exchange.reply(await answer(self._control, self._url(), request))

    def _hand_on(self, request: Request, exchange: Exchange) -> None:
        if request.path.startswith(BY_NAME):
            name, _, rest = request.path[len(BY_NAME) :].partition("/")
            one = self._providers.get(name)
            request.path = f"/{rest}"
        else:
            one = self._best(request)
        if one is None:
            exchange.reply(whole(404, JSON, b'{"error":{"message":"no provider here knows this path"}}'))
        else:
            one.handle(request, exchange)

    def _best(self, request: Request) -> Provider | None:
        knowing = [one for one in self._providers.values() if one.knows(request)]
        return next((one for one in knowing if one.sees_key(request)), knowing[0] if knowing else None)
