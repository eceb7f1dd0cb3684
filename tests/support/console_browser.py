"""A console over whoever leads on a bus, and a browser in which the admin is logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from console.asking import Asking
from console.assembly import assemble
from console.people import hashed
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.console import ADMIN, PEPPER

ACCESS = {"pepper": PEPPER, "admin_hash": hashed(ADMIN, PEPPER)}
"""Of a configuration's ``gateway``: who the admin is."""


@asynccontextmanager
async def browsing(settings: Config, bus: Bus) -> AsyncIterator[tuple[httpx.AsyncClient, Asking]]:
    """The browser, and what the console itself asks the leader by. ``settings`` have ``ACCESS``."""
    made = assemble(
        settings,
        bus=bus,
        clock=SystemClock(),
        telemetry=Telemetry(),
        told=lambda _, __: (200, "text/plain", b""),  # health is not looked at
    )
    await made.server.start()
    url = f"http://127.0.0.1:{made.server.port}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=20.0, verify=False) as browser:
            assert (await browser.post("/login", data={"key": ADMIN})).status_code == 303
            yield browser, made.console.desks.asking
    finally:
        await made.server.stop()
