"""Heads of files in the broker: there, gone, and never there again."""

from __future__ import annotations

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.openai_files import FileHead
from gateway.files.store import Files
from runtime.bus.manifest import manifest
from runtime.bus.memory import MemoryBroker
from runtime.clock import SystemClock
from runtime.settings.services import Filing
from tests.support.stand_in import LIMITS

LIVE = FileHead(id="file-1", chunk=8, created_at=1.0, filename="b.jsonl", purpose="batch_output", batch="b", live=True)


async def store() -> Files:
    bus = MemoryBroker().bus()
    await bus.ensure(manifest(LIMITS))
    return Files(bus, SystemClock(), Filing())


async def test_results_that_were_deleted_are_not_there_again_when_another_edge_takes_the_batch_up() -> None:
    files = await store()
    assert await files.add("research", LIVE)
    await files.remove("research", LIVE.id)
    assert not await files.add("research", LIVE)
    assert await files.found("research", LIVE.id) is None
    assert await files.listed("research") == []
    with pytest.raises(Failed, match="No such File"):
        await files.remove("research", LIVE.id)


async def test_results_that_are_completed_while_they_are_deleted_are_gone() -> None:
    files = await store()
    await files.add("research", LIVE)
    found = await files.found("research", LIVE.id)
    assert found is not None
    completed = LIVE.model_copy(update={"live": False, "bytes": 3})

    async def meanwhile(project: str, file: str) -> tuple[FileHead, int] | None:
        del files.found
        await files.change(project, completed, seen=found[1])
        return found

    files.found = meanwhile  # type: ignore[method-assign]
    await files.remove("research", LIVE.id)
    assert await files.found("research", LIVE.id) is None
