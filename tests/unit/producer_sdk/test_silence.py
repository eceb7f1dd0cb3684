"""Asking after jobs that are silent: a question that is lost keeps no other one waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.desk import AskJobs, Results
from producer_sdk.errors import Unreachable
from producer_sdk.exchange import Exchange, Patience
from producer_sdk.replies import Watch
from producer_sdk.sweeper import ASK_AGAIN, LOOK
from producer_sdk.transport import Listener
from tests.support.eventually import eventually

SILENCE = 0.05


class Line:
    """A transport over which the desk is asked, and answers that it knows no result, while it is heard."""

    project = "p"
    max_payload = 1024 * 1024

    def __init__(self) -> None:
        self.heard = True
        self.asked: list[float] = []
        """When, in the loop's seconds."""

    async def open(self, stem: str, listener: Listener, *, timeout: float) -> None: ...

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> bool:
        return True

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        assert subject == subjects.api(self.project, "results")
        assert decode(AskJobs, data).jobs
        self.asked.append(asyncio.get_running_loop().time())
        if self.heard:
            return encode(Results(records=()))
        await asyncio.sleep(timeout)
        raise Unreachable("no answer in time")

    async def listen(self, subject: str) -> None: ...

    async def ignore(self, subject: str) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
async def line() -> Line:
    return Line()


@pytest.fixture
async def exchange(line: Line) -> AsyncIterator[Exchange]:
    made = Exchange(line, "stem", Patience(desk=30.0, silence=SILENCE))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def watch(exchange: Exchange) -> AsyncIterator[Watch]:
    """A job somebody waits for."""
    watch = exchange.replies.watch("stem-1", token="t")
    waiting = asyncio.create_task(watch.wait(None))
    yield watch
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_after_a_reconnect_the_desk_is_asked_though_a_question_is_under_way(
    exchange: Exchange, line: Line, watch: Watch
) -> None:
    line.heard = False  # as when the connection ends at a node that stands still
    await eventually(lambda: len(line.asked) == 1)
    two_looks = asyncio.get_running_loop().time() + 2 * LOOK
    await eventually(lambda: asyncio.get_running_loop().time() > two_looks)
    assert len(line.asked) == 1, "asked again while the answer may still come"
    line.heard = True
    exchange.replies.restored()
    await eventually(lambda: len(line.asked) >= 2, within=1.0)
    assert not watch.done


async def test_the_pause_grows_with_answers_alone(exchange: Exchange, line: Line, watch: Watch) -> None:
    line.heard = False
    exchange.desk._timeout = 0.01
    await eventually(lambda: len(line.asked) == 3, within=10.0)
    assert watch.pause == SILENCE
    assert min(later - one for one, later in zip(line.asked, line.asked[1:], strict=False)) >= ASK_AGAIN
    line.heard = True
    await eventually(lambda: watch.pause == 4 * SILENCE, within=10.0)
