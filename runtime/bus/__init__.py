"""The seam to the broker: one port, one file per implementation.

``port`` says what a bus offers and how it fails; ``nats`` speaks to a broker (``client``, ``link``, ``answers``,
``asking``, ``pulling``, ``tailing``, ``replies`` and ``assets`` are its rooms; ``library`` loads the client they speak
through), ``memory`` keeps everything in this process; ``manifest`` declares the streams; ``blobs`` stores what is too
large for one message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from runtime.bus import library  # noqa: F401 - before all that imports nats-py
from runtime.bus.nats import NatsBus
from runtime.bus.settings import BusSettings
from runtime.clock import Clock

__all__ = ["BusSettings", "NatsBus", "connect"]

log = logging.getLogger(__name__)


async def connect(
    settings: BusSettings, *, clock: Clock | None = None, on_event: Callable[[str, str], None] | None = None
) -> NatsBus:
    """Connect to the broker. Raises ``Unreachable`` if none answers now; later losses repair themselves.

    ``on_event(kind, detail)`` hears what happens to the connection: ``connected``, ``disconnected``, ``refused`` (a
    permission), ``dropped`` (a subscription too slow), ``error``. ``clock`` is taken for symmetry with the memory bus:
    a socket's deadlines are the event loop's.
    """
    del clock
    return await NatsBus(settings, on_event or _log).open()


def _log(kind: str, detail: str) -> None:
    log.log(logging.INFO if kind == "connected" else logging.WARNING, "bus.%s", kind, extra={"detail": detail})
