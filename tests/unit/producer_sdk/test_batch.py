"""Many at once: order, errors as values, what is remembered, what it may cost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from job_contracts.failures import FailureKind
from producer_sdk import InvalidRequest, JobFailed, Producer, Progress, QueueFull, Refused
from producer_sdk.batch import LOOKAHEAD, Item
from producer_sdk.checkpoint import Checkpoint
from producer_sdk.testing import FakeGateway, fails, says
from tests.support.eventually import eventually


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        yield fake


@pytest.fixture
async def producer(gateway: FakeGateway) -> Producer:
    return gateway.producer(timeout=10)


def asking(*texts: str) -> list[dict[str, Any]]:
    return [{"model": "fast", "messages": text} for text in texts]


async def all_of(items: AsyncIterator[Item]) -> list[Item]:
    return [item async for item in items]


async def test_every_request_has_one_item_with_its_index(producer: Producer) -> None:
    items = await all_of(producer.map(asking(*"abcdef"), concurrency=3))
    assert sorted((item.index, item.unwrap().text) for item in items) == list(enumerate("abcdef"))


async def test_as_they_end_or_in_the_order_of_the_requests(gateway: FakeGateway, producer: Producer) -> None:
    gateway.always(lambda job: says("x", delay=0.2 if job.chat.messages[0].content == "slow" else 0.0))
    assert [item.index async for item in producer.map(asking("slow", "b", "c"))] == [1, 2, 0]
    assert [item.index async for item in producer.map(asking("slow", "b", "c"), ordered=True)] == [0, 1, 2]


async def test_errors_are_values(gateway: FakeGateway, producer: Producer) -> None:
    gateway.script(says("fine"), fails("content_policy"))
    requests = [*asking("a", "b"), {"model": "fast"}, {"model": "fast", "messages": "x", "lane": "none"}]
    items = await all_of(producer.map(requests, concurrency=1))
    assert [item.ok for item in items] == [True, False, False, False]
    assert [type(item.error) for item in items[1:]] == [JobFailed, InvalidRequest, InvalidRequest]
    with pytest.raises(JobFailed):
        items[1].unwrap()


async def test_no_more_than_asked_for_are_under_way(gateway: FakeGateway, producer: Producer) -> None:
    under_way = most = 0
    gateway.always(says("x", delay=0.01))
    complete = producer.complete

    async def counted(**arguments: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await complete(**arguments)
        finally:
            under_way -= 1

    producer.complete = counted  # type: ignore[method-assign]  # to look on
    await all_of(producer.map(asking(*map(str, range(30))), concurrency=4))
    assert most == 4


async def test_requests_are_drawn_only_as_far_ahead_as_needed(producer: Producer) -> None:
    drawn = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield {"model": "fast", "messages": "x"}

    items = producer.map(endless(), concurrency=2)
    for _ in range(5):
        await anext(items)
    await items.aclose()
    assert drawn <= 5 + 2 * LOOKAHEAD + 1


async def test_requests_may_come_asynchronously(producer: Producer) -> None:
    async def coming() -> AsyncIterator[dict[str, Any]]:
        for text in "ab":
            await asyncio.sleep(0)
            yield {"model": "fast", "messages": text}

    assert len(await all_of(producer.map(coming()))) == 2


async def test_an_error_of_the_callers_own_iterable_reaches_the_caller(producer: Producer) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"model": "fast", "messages": "x"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await all_of(producer.map(broken()))


async def test_a_full_queue_is_waited_for(gateway: FakeGateway, producer: Producer) -> None:
    full = fails(FailureKind.QUEUE_FULL)
    assert full.failure is not None
    gateway.script(full.but(failure=full.failure.model_copy(update={"retry_after": 0.05})), says("then"))
    (item,) = await all_of(producer.map(asking("x")))
    assert item.unwrap().text == "then"
    assert len(gateway.jobs) == 2


def turned_away(pause: float = 0.05) -> Any:
    full = fails(FailureKind.QUEUE_FULL)
    assert full.failure is not None
    return full.but(failure=full.failure.model_copy(update={"retry_after": pause}))


async def test_an_item_that_was_turned_away_is_asked_again_under_a_further_key(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    gateway.script(turned_away(), turned_away(), says("then"))
    file = tmp_path / "run.sqlite"
    (item,) = await all_of(producer.map(asking("x"), checkpoint=file))
    assert item.unwrap().text == "then"
    own = [{**asking("x")[0], "idempotency_key": "k"}]
    gateway.script(turned_away(), says("mine"))
    for _ in range(2):  # who asks again comes by the same keys
        (item,) = await all_of(producer.map(own))
        assert item.unwrap().text == "mine"
    assert len(gateway.jobs) == 5


async def test_texts_that_were_turned_away_are_asked_again_under_a_further_key(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.script(turned_away())
    assert len(await producer.embed(model="fast", inputs=["x"], idempotency_key="k")) == 1
    assert len(gateway.jobs) == 2


async def test_an_item_that_found_no_room_in_time_is_another_job_in_the_next_run(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "run.sqlite"
    gateway.script(turned_away(60))
    (first,) = await all_of(producer.map(asking("x"), checkpoint=file, timeout=8))  # the pause is longer
    assert isinstance(first.error, QueueFull)
    (second,) = await all_of(producer.map(asking("x"), checkpoint=file, timeout=8))
    assert second.ok


async def test_a_spending_limit_stops_further_jobs(gateway: FakeGateway, producer: Producer) -> None:
    gateway.always(says("x", cost=Decimal("0.5")))
    items = await all_of(producer.map(asking(*"abcdef"), concurrency=1, max_cost=1))
    done = [item.ok for item in items]
    assert done[:2] == [True, True]
    assert not all(done)
    stopped = items[-1].error
    assert isinstance(stopped, Refused)
    assert stopped.field == "max_cost"
    assert len(gateway.jobs) == sum(done)


async def test_progress_is_told_after_every_item(gateway: FakeGateway, producer: Producer) -> None:
    told: list[tuple[int, int, Decimal]] = []

    def tell(progress: Progress) -> None:
        told.append((progress.done, progress.failed, progress.cost))

    gateway.script(says("x", cost=Decimal("0.25")), fails("bad_request"))
    await all_of(producer.map(asking("a", "b"), concurrency=1, progress=tell))
    assert told == [(1, 0, Decimal("0.25")), (2, 1, Decimal("0.25"))]


async def test_a_concurrency_of_nothing_is_refused(producer: Producer) -> None:
    with pytest.raises(InvalidRequest):
        producer.map([], concurrency=0)


# -- what is remembered


async def test_a_second_run_reads_what_is_done_and_tries_again_what_failed(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "run.sqlite"
    gateway.script(says("one"), fails("overloaded"), says("three"))
    first = await all_of(producer.map(asking(*"abc"), concurrency=1, checkpoint=file))
    assert [item.ok for item in first] == [True, False, True]
    gateway.script(says("two"))
    second = await all_of(producer.map(asking(*"abc"), ordered=True, checkpoint=file))
    assert [item.unwrap().text for item in second] == ["one", "two", "three"]
    assert [item.resumed for item in second] == [True, False, True]
    assert len(gateway.jobs) == 4


async def test_a_run_that_is_broken_off_takes_up_what_was_under_way(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "run.sqlite"
    gateway.hold()
    items = producer.map(asking(*"abc"), checkpoint=file)
    waiting = asyncio.ensure_future(anext(items))
    await eventually(lambda: len(gateway.jobs) == 3)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gateway.release()
    second = await all_of(producer.map(asking(*"abc"), ordered=True, checkpoint=file))
    assert [item.unwrap().text for item in second] == ["a", "b", "c"]
    assert len(gateway.jobs) == 3
    assert all(received.cancelled is None for received in gateway.jobs)


async def test_a_request_that_changed_is_asked_anew(gateway: FakeGateway, producer: Producer, tmp_path: Path) -> None:
    file = tmp_path / "run.sqlite"
    await all_of(producer.map(asking("a", "b"), checkpoint=file))
    second = await all_of(producer.map(asking("a", "B"), checkpoint=file, ordered=True))
    assert [(item.unwrap().text, item.resumed) for item in second] == [("a", True), ("B", False)]


async def test_another_file_is_another_run(gateway: FakeGateway, producer: Producer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        await all_of(producer.map(asking("a"), checkpoint=tmp_path / name))
    assert len(gateway.jobs) == 2


async def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(producer: Producer, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("precious " * 100)
    with pytest.raises(InvalidRequest):
        await all_of(producer.map(asking("a"), checkpoint=file))
    assert file.read_text() == "precious " * 100


def test_a_checkpoint_of_garbage_results_asks_again(tmp_path: Path) -> None:
    file = tmp_path / "run.sqlite"
    with Checkpoint(file) as checkpoint:
        run = checkpoint.run
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO item (key, fingerprint, result) VALUES ('0', 'f', '{}')")
    database.close()
    with Checkpoint(file) as checkpoint:
        assert checkpoint.run == run
        assert checkpoint.finished("0", "f") is None
