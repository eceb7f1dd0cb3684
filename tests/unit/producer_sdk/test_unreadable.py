"""Results that this version cannot read: whoever waits for one is told, and the others are not kept waiting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from job_contracts.desk import AskJobs, Results
from producer_sdk import PenstockError
from producer_sdk.testing import FakeGateway, says
from tests.support.sdk import HELLO

LARGE = "x" * 400_000
"""So that each result comes in an answer of its own."""


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        fake.always(says([LARGE]))
        yield fake


def bounded(monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway, most: int) -> None:
    """More than so many questions after results fail whoever asks."""
    store, asked = gateway.stage().store, list[AskJobs]()
    results = store.results

    def counted(question: AskJobs) -> Results:
        asked.append(question)
        assert len(asked) <= most, "asked without an end"
        return results(question)

    monkeypatch.setattr(store, "results", counted)


async def ended(gateway: FakeGateway) -> list[str]:
    jobs = [await gateway.producer().submit(**HELLO) for _ in range(3)]
    for job in jobs:
        await job.result()
    return [job.id for job in jobs]


async def test_one_of_a_later_version_fails_and_those_behind_it_are_read(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await ended(gateway)
    records = gateway.stage().store.records
    records[jobs[0]] = json.dumps({**json.loads(records[jobs[0]]), "state": "of a later version"}).encode()
    bounded(monkeypatch, gateway, 3)
    exchange = await gateway.producer()._ready()
    watches = [exchange.replies.watch(job) for job in jobs]
    await exchange._sweeper.ask(watches)
    with pytest.raises(PenstockError, match="unreadable"):
        await watches[0].wait(None)
    assert [(await watch.wait(None)).answer.text for watch in watches[1:]] == [LARGE, LARGE]  # type: ignore[union-attr]


@pytest.mark.parametrize("record", [b"[]", b"{}", b"nothing of ours"])
async def test_one_that_does_not_even_say_whose_it_is_is_asked_for_once(
    gateway: FakeGateway, record: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await ended(gateway)
    gateway.stage().store.records[jobs[0]] = record.ljust(len(LARGE))
    bounded(monkeypatch, gateway, 1)
    exchange = await gateway.producer()._ready()
    watches = [exchange.replies.watch(job) for job in jobs]
    await exchange._sweeper.ask(watches)
    assert not any(watch.done for watch in watches)
