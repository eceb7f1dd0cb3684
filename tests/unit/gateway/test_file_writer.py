"""What stores a file's content when the store refuses it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.files.store import Writer
from runtime.bus.port import StreamFull


class _Full:
    """A broker without room: it refuses all that is stored."""

    max_payload = 1024

    async def append(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        raise StreamFull("no room")


async def test_chunks_that_are_refused_together_are_all_heeded() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    writer = Writer(_Full(), "acme", "file-1", 4)  # type: ignore[arg-type]
    with pytest.raises(Failed, match="no room"):
        await writer.write(b"x" * 400)
    await writer.abandon()
    gc.collect()
    assert not complaints
