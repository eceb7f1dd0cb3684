"""A worker's desk of a batch API: made once whatever the provider answers, and everybody has an answer in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.failures import FailureKind
from tests.support.eventually import eventually
from tests.support.worker import Bench, config
from workers.batching.carried import Carried, Member, left_over
from workers.batching.notes import Note
from workers.dialects.batches.openai import OpenAIBatches
from workers.dialects.batches.port import Sheet
from workers.dialects.port import Encoded

ROW = ProviderRow.model_validate(
    {
        "name": "far",
        "dialect": "openai_chat",
        "base_url": "http://far.test/v1",
        "tiers": {"batch": {"price": 0.5, "turnaround": 60, "api": "openai"}},
    }
)
REQUEST = Encoded("/chat/completions", {}, b'{"model":"m"}')
QUICK = {"linger": 0.1, "poll": 0.05, "poll_most": 0.1, "silence": 5.0, "patience": 20.0}


class Far(httpx.AsyncBaseTransport):
    """A provider with a batch API; ``lost``: answers to the making of a batch that do not arrive."""

    def __init__(self, *, lost: int = 0, refuses: int = 0, fails: dict[str, Any] | None = None) -> None:
        self.lost, self.refuses, self.fails = lost, refuses, fails
        self.files: list[list[dict[str, Any]]] = []
        self.made: list[dict[str, Any]] = []
        self.done = asyncio.Event()
        self.cancelled: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way, path = request.method, request.url.path.removeprefix("/v1")
        body = await request.aread()
        if path == "/files":
            part = body.partition(b'name="file"')[2].partition(b"\r\n\r\n")[2]
            self.files.append([json.loads(line) for line in part.splitlines() if line.startswith(b"{")])
            return httpx.Response(200, json={"id": f"file-{len(self.files)}"})
        if path == "/batches" and way == "POST":
            return self._make(json.loads(body))
        if path == "/batches":
            return httpx.Response(200, json={"data": self.made[::-1], "has_more": False})
        if path.endswith("/content"):
            return httpx.Response(200, content=b"\n".join(self._answers(int(path.split("/")[2]))))
        if path.endswith("/cancel"):
            self.cancelled.append(path.split("/")[2])
        sheet = self.made[int(path.split("/")[2].removeprefix("b"))]
        ended = {"status": "completed", "output_file_id": sheet["id"].removeprefix("b")} if self.done.is_set() else {}
        return httpx.Response(200, json={**sheet, **ended})

    def _make(self, asked: dict[str, Any]) -> httpx.Response:
        if self.refuses:
            self.refuses -= 1
            return httpx.Response(429, json={"error": {"message": "too many", "code": "rate_limit_exceeded"}})
        sheet = {"id": f"b{len(self.made)}", "status": "in_progress", "metadata": asked["metadata"]}
        self.made.append({**sheet, **(self.fails or {})})
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("lost")
        return httpx.Response(200, json=self.made[-1])

    def _answers(self, batch: int) -> list[bytes]:
        said = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        answer = {"status_code": 200, "body": {**said, "id": "x", "model": "m", "usage": usage}}
        lines = self.files[batch]
        return [json.dumps({"custom_id": line["custom_id"], "response": answer}).encode() for line in lines]


@asynccontextmanager
async def bench(far: Far, **batch: Any) -> AsyncIterator[Bench]:
    settings = config("http://far.test/v1", catalogue="far", tier="batch", spare=1.0, batch={**QUICK, **batch})
    made = Bench(settings)
    await made.start(transport=far, catalogue={"far": ROW})
    try:
        yield made
    finally:
        await made.stop()


async def test_an_answer_that_was_lost_when_a_batch_was_made_makes_no_second_batch() -> None:
    far = Far(lost=1)
    far.done.set()
    async with bench(far) as made:
        for _ in range(3):
            await made.hand(made.assignment())
        await eventually(lambda: len(made.results()) == 3, within=10, says="no results")
        assert len(far.made) == 1
        assert [len(file) for file in far.files] == [3]
        await eventually(lambda: not made.messages(subjects.BATCHES), within=5, says="the note was left behind")


async def test_a_batch_is_closed_when_it_has_as_many_requests_as_it_may() -> None:
    far = Far()
    far.done.set()
    async with bench(far, requests=2, linger=30.0) as made:
        for _ in range(4):
            await made.hand(made.assignment())
        await eventually(lambda: len(made.results()) == 4, within=10, says="no results")
        assert [len(file) for file in far.files] == [2, 2]


async def test_a_refusal_of_the_batch_is_every_jobs_own_and_costs_nothing() -> None:
    far = Far(refuses=1)
    async with bench(far) as made:
        for _ in range(2):
            await made.hand(made.assignment())
        await eventually(lambda: len(made.outcomes()) == 2, within=10, says="no outcomes")
        for outcome in made.outcomes().values():
            assert outcome.failure.kind is FailureKind.RATE_LIMIT
            assert outcome.record.cost == 0


async def test_of_a_batch_that_is_turned_away_only_the_named_request_is_to_blame() -> None:
    wrong = {"status": "failed", "errors": {"data": [{"code": "invalid", "message": "not so", "line": 1}]}}
    far = Far(fails=wrong)
    async with bench(far) as made:
        for _ in range(3):
            await made.hand(made.assignment())
        await eventually(lambda: len(made.outcomes()) == 3, within=10, says="no outcomes")
        kinds = [outcome.failure.kind for outcome in made.outcomes().values()]
        assert kinds.count(FailureKind.BAD_REQUEST) == 1
        assert all(
            kind in {FailureKind.BAD_REQUEST, FailureKind.OVERLOADED, FailureKind.SERVER_ERROR} for kind in kinds
        )


@pytest.mark.parametrize(("ours", "blamed"), [(True, [2]), (False, [])], ids=["our lines", "another worker's"])
async def test_a_refused_line_is_that_of_the_job_whose_request_stands_there(ours: bool, blamed: list[int]) -> None:
    loop = asyncio.get_running_loop()
    members = {place: Member(f"a{place}", place, loop.create_future(), REQUEST) for place in range(4)}
    note = Note(key="k", pool="alpha", worker="w1", path="/chat/completions", at=0.0, seqs=tuple(members))
    carried = Carried(note, members)
    carried.leave(members[0])  # before its request was written
    if ours:
        written = [json.loads(line)["custom_id"] for line in carried.lines(OpenAIBatches())]
        assert written == ["k-1", "k-2", "k-3"]
    left_over(carried, Sheet("b", end="failed", wrong_lines={-2: "none", 1: "not so", 9: "none"}))
    statuses = {place: member.coming.result().status for place, member in members.items()}
    assert [place for place, status in statuses.items() if status == 400] == blamed


async def test_jobs_that_wait_for_company_are_handed_back_uncalled_when_the_worker_stops() -> None:
    far = Far()
    async with bench(far, linger=60.0) as made:
        order = await made.hand(made.assignment())
        await eventually(lambda: order.attempt_id in made.worker.pool.attempts(), within=5, says="not fetched")
    [outcome] = made.outcomes().values()
    assert outcome.failure.kind is FailureKind.HANDED_BACK
    assert not outcome.called
    assert not far.made


async def test_a_cancelled_job_does_not_stop_the_batch_of_the_others() -> None:
    far = Far()
    async with bench(far) as made:
        orders = [await made.hand(made.assignment()) for _ in range(2)]
        await eventually(lambda: bool(far.made), within=5, says="no batch")
        await made.abort(orders[0].attempt_id)
        await eventually(lambda: len(made.outcomes()) == 1, within=5, says="not cancelled")
        assert not far.cancelled
        far.done.set()
        await eventually(lambda: len(made.results()) == 1, within=5, says="no result")
        assert len(far.made) == 1


async def test_after_the_only_one_that_waited_is_gone_the_next_is_still_sent() -> None:
    far = Far()
    far.done.set()
    async with bench(far) as made:
        loop, desk, rung = asyncio.get_running_loop(), made.worker.desk, asyncio.Event()
        assert desk is not None
        first = asyncio.create_task(desk.ask(REQUEST, "first", "m"))
        await asyncio.sleep(0)  # it waits for company
        assert desk.withdraw("first")
        first.cancel()
        desk.answered("first")
        loop.call_later(2 * QUICK["linger"], rung.set)
        await rung.wait()  # whatever was to ring for the first has rung
        second = asyncio.create_task(desk.ask(REQUEST, "second", "m"))
        await eventually(second.done, within=10, says="it waits for ever")
        assert second.result().status == 200
        assert [len(file) for file in far.files] == [1]
        desk.answered("second")


async def test_who_leaves_while_others_wait_takes_nobody_along() -> None:
    far = Far()
    far.done.set()
    async with bench(far, requests=3, linger=3600.0) as made:
        desk = made.worker.desk
        assert desk is not None
        waiting = [asyncio.create_task(desk.ask(REQUEST, name, "m")) for name in ("gone", "first")]
        await asyncio.sleep(0)  # both wait for company
        assert desk.withdraw("gone")
        waiting.pop(0).cancel()
        waiting += [asyncio.create_task(desk.ask(REQUEST, name, "m")) for name in ("second", "third")]
        await eventually(lambda: all(task.done() for task in waiting), within=10, says="no answers")
        assert [len(file) for file in far.files] == [3]
        for name in ("gone", "first", "second", "third"):
            desk.answered(name)
