"""What takes longer than a grant is good for is done once: the job's next attempt finds it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from catalogue.rows import ProviderRow
from job_contracts.attempts import Assignment
from job_contracts.failures import FailureKind
from job_contracts.jobs import Job
from tests.support import builders
from tests.support.clock import ManualClock
from tests.support.upstream import Upstream, completion, response, upstream
from tests.support.worker import Bench, bench
from workers import prepared
from workers.attempt import Attempt
from workers.dialects import DIALECTS
from workers.endpoint import Endpoint
from workers.fetching import Fetcher
from workers.images import Images
from workers.smoothing import Smoothing

PICTURE = base64.b64encode(b"a picture").decode()


class Distant(Fetcher):
    """Takes seconds of the clock for every image, or for ever."""

    def __init__(self, clock: ManualClock, seconds: float | None) -> None:
        super().__init__()
        self.asked = 0
        self._clock, self._seconds = clock, seconds

    async def fetch(self, address: str) -> tuple[str, str]:
        self.asked += 1
        if self._seconds is None:
            await asyncio.Event().wait()
        self._clock.advance(self._seconds or 0.0)
        return PICTURE, "image/png"


def showing(job_id: str = "stem-1") -> Job:
    image = {"type": "image", "url": "https://example.com/a.png"}
    return builders.job(job_id, conversation=builders.conversation(messages=[{"role": "user", "content": [image]}]))


def endpoint(worker: Bench, fetcher: Fetcher) -> Endpoint:
    row = {"name": "alpha", "dialect": "openai_chat", "base_url": "https://x", "quirks": {"image_urls": False}}
    return Endpoint(
        row=ProviderRow.model_validate(row),
        dialects=DIALECTS,
        upstream=worker.worker.upstream,
        smoothing=Smoothing(worker.config.providers["alpha"], enabled=False),
        streams=worker.worker.streams,
        clock=worker.clock,
        telemetry=worker.telemetry,
        images=Images(fetcher),
    )


def order(worker: Bench, attempt: int = 1, **over: Any) -> Assignment:
    return worker.assignment(job=showing(), attempt=attempt, grant={"valid_for": 0.4}, **over)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def made(at: Endpoint, assignment: Assignment) -> FailureKind | None:
    attempt = Attempt(at, assignment)
    ending = await attempt.run(showing())
    await attempt.close()
    return None if ending.failure is None else ending.failure.kind


async def test_an_image_that_takes_longer_than_the_grant_is_fetched_once(clock: ManualClock) -> None:
    async with upstream([response(completion())]) as server, bench(server.url, clock=clock) as worker:
        fetcher = Distant(clock, 2.0)
        at = endpoint(worker, fetcher)
        assert await made(at, order(worker)) is FailureKind.GRANT_EXPIRED
        assert await made(at, order(worker, 2)) is None
        assert fetcher.asked == 1
        assert sent(server) == [f"data:image/png;base64,{PICTURE}"]
        assert await made(at, order(worker, 3)) is FailureKind.GRANT_EXPIRED  # it was taken: nothing is kept for ever
        clock.advance(prepared.KEPT + 1)
        assert await made(at, order(worker, 4)) is FailureKind.GRANT_EXPIRED
        assert await made(at, order(worker, 5, body_hash="of another body")) is FailureKind.GRANT_EXPIRED
        assert fetcher.asked == 4


def sent(server: Upstream) -> list[str]:
    return [one.json["messages"][0]["content"][0]["image_url"]["url"] for one in server.asked]


async def test_the_deadline_ends_what_is_made_ready(clock: ManualClock) -> None:
    async with upstream([response(completion())]) as server, bench(server.url, clock=clock) as worker:
        at = endpoint(worker, Distant(clock, None))
        assert await made(at, order(worker, deadline=clock.wall() + 0.05)) is FailureKind.EXPIRED
        assert server.asked == []


async def test_few_are_kept_and_the_oldest_go_first(clock: ManualClock) -> None:
    async with upstream([response(completion())]) as server, bench(server.url, clock=clock) as worker:
        fetcher = Distant(clock, 1.0)
        at = endpoint(worker, fetcher)
        numbers = range(prepared.MOST + 1)
        for number in numbers:
            job = showing(f"stem-{number}")
            one = worker.assignment(job=job, grant={"valid_for": 0.4})
            assert await made(at, one) is FailureKind.GRANT_EXPIRED
        for number in (numbers[-1], numbers[1]):
            job = showing(f"stem-{number}")
            assert await made(at, worker.assignment(job=job, attempt=2, grant={"valid_for": 0.4})) is None
        assert fetcher.asked == len(numbers)
        gone = worker.assignment(job=showing("stem-0"), attempt=2, grant={"valid_for": 0.4})
        assert await made(at, gone) is FailureKind.GRANT_EXPIRED
