"""nats-py, loaded without the HTTP library that its websockets need and nothing here uses.

nats-py imports aiohttp wherever that is installed: a tenth of a second of every process, most of it for the system's
certificates. Here it finds a stand-in instead, which loads aiohttp when something of it is asked for: ``ws://`` works
as before. What was imported earlier stays; what is imported later is the real one.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

HTTP = "aiohttp"


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        _forget(self)
        return getattr(importlib.import_module(HTTP), name)


def _forget(later: ModuleType) -> None:
    if sys.modules.get(HTTP) is later:
        del sys.modules[HTTP]


def _load() -> None:
    if HTTP in sys.modules or find_spec(HTTP) is None:
        importlib.import_module("nats")
        return
    sys.modules[HTTP] = later = _Later(HTTP)
    try:
        importlib.import_module("nats")
    finally:
        _forget(later)


_load()
