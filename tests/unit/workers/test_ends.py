"""How an attempt ends when more than its call goes wrong: the broker is away, the judge is missing, the worker ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from job_contracts import subjects
from job_contracts.attempts import Heartbeat, HeartbeatReply, LimitReading
from job_contracts.codec import decode, encode
from job_contracts.failures import FailureKind
from runtime.bus.port import Delivery, Message
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.upstream import Do, Upstream, chunk, completion, error, event, head, response, upstream
from tests.support.worker import POOL, Bench, bench
from workers.answers.apart import NotStarted
from workers.answers.judging import Verdict
from workers.dialects import DIALECTS
from workers.dialects.port import Decoder, Dialect, Partial, Target

PLAIN = {"type": "object"}
COSTLY = {"type": "object", "properties": {"sub": {"items": {"$ref": "#"}}}}


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


def asking(schema: dict[str, Any]) -> Any:
    form = {"type": "json_schema", "json_schema": schema}
    return builders.job("json-1", conversation=builders.conversation(settings={"response_format": form}))


# -- the connection


async def test_a_call_that_is_stopped_ends_at_the_provider_although_the_broker_is_away(
    worker: Bench, provider: Upstream
) -> None:
    provider.play([head(), chunk(event("x" * 40)), Do.HANG])
    given = await worker.hand(worker.assignment(stream=True))
    await eventually(lambda: worker.chunks(given))
    worker.bus.disconnect()
    worker.worker.pool.abort((given.attempt_id,))
    await eventually(lambda: worker.said("report.retried"))
    await eventually(lambda: provider.gone == 1, says="the provider sees the connection closed")
    assert worker.outcomes() == {}
    worker.bus.reconnect()
    assert (await worker.outcome(given)).failure.kind is FailureKind.CANCELLED


# -- what it cost


class Missing:
    """No process that judges can be had, ``times`` times."""

    def __init__(self, times: int = 1) -> None:
        self._left = times

    async def compile(self, key: str, schema: str) -> None:
        self._fail()

    async def judge(self, key: str, schema: str, text: str, *, repair: bool, nulls: bool) -> Verdict:
        self._fail()
        return Verdict(text)

    async def close(self) -> None: ...

    def _fail(self) -> None:
        if self._left:
            self._left -= 1
            raise NotStarted("it did not start")


async def test_an_answer_that_nobody_could_judge_costs_what_its_provider_said(
    worker: Bench, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not handed back, as if it had cost nothing: it would be paid for again and again."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5000, "total_tokens": 5010, "cost": 0.25}
    provider.play([response(completion('{"a": 1}', usage=usage))])
    monkeypatch.setattr("workers.answers.expected.MOST_WORK", 0)
    monkeypatch.setattr(worker.worker.answers, "_apart", Missing())
    given = await worker.hand(worker.assignment(job=asking(PLAIN)))
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.INTERNAL, True)
    fact = worker.facts()[given.attempt_id]
    assert (fact.usage.input, fact.usage.output, fact.usage.reported) == (10, 5000, True)
    assert (fact.cost, fact.stated) == (Decimal("0.25"), True)


async def test_a_job_is_handed_back_when_nobody_can_read_its_schema_just_now(
    worker: Bench, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.play([response(completion('{"sub": []}'))])
    monkeypatch.setattr(worker.worker.answers, "_apart", Missing())
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=asking(COSTLY))))
    assert (outcome.failure.kind, outcome.called) == (FailureKind.HANDED_BACK, False)
    assert [told.fields["error"] for told in worker.said("attempt.broken")] == ["NotStarted"]
    assert not provider.asked
    assert worker.facts() == {}
    assert (await worker.result(await worker.hand(worker.assignment(job=asking(COSTLY), attempt=2)))).answer


class Odd:
    """A dialect with bugs: it cannot read limits, and its decoders can be made to fail in all they are asked."""

    name = "openai_chat"

    def __init__(self, *, decoders: bool = False) -> None:
        self._good, self._decoders = DIALECTS["openai_chat"], decoders

    def __getattr__(self, name: str) -> Any:
        return getattr(self._good, name)

    def decoder(self, target: Target, **how: Any) -> Decoder:
        good = self._good.decoder(target, **how)
        return cast("Decoder", _OddDecoder()) if self._decoders else good

    def limits(self, target: Target, headers: Mapping[str, str]) -> Sequence[LimitReading]:
        raise ZeroDivisionError


class _OddDecoder:
    failure, complete = None, False

    def feed(self, data: bytes) -> Sequence[Any]:
        raise KeyError

    @property
    def partial(self) -> Partial:
        raise IndexError


def odd(**how: bool) -> dict[str, Dialect]:
    return {"openai_chat": cast("Dialect", Odd(**how))}


async def test_a_decoder_that_is_broken_in_every_way_still_leaves_an_estimate(provider: Upstream) -> None:
    async with bench(provider.url, dialects=odd(decoders=True)) as worker:
        given = await worker.hand(worker.assignment())
        outcome = await worker.outcome(given)
        assert outcome.failure.message == "the worker failed unexpectedly (KeyError)"
        usage = worker.facts()[given.attempt_id].usage
        assert (usage.input, usage.reported) == (given.grant.input_tokens, False)


# -- limits that cannot be read


async def test_limits_that_cannot_be_read_end_no_beat_and_change_no_failure(provider: Upstream) -> None:
    beats: list[Heartbeat] = []

    async def hear(message: Message) -> bytes:
        beats.append(decode(Heartbeat, message.data))
        return encode(HeartbeatReply())

    async with bench(provider.url, dialects=odd()) as worker:
        await worker.mine.respond(subjects.heartbeat("*", "*"), hear)
        await worker.result(await worker.hand(worker.assignment()))
        await eventually(lambda: worker.said("limits.unreadable"))
        seen = len(beats)
        await eventually(lambda: len(beats) >= seen + 2)
        assert not worker.said("duty.failed")
        assert not [beat for beat in beats if beat.limits]
        provider.play([error(429)])
        outcome = await worker.outcome(await worker.hand(worker.assignment()))
        assert (outcome.failure.kind, outcome.limits) == (FailureKind.RATE_LIMIT, ())


# -- the worker's own end


class Late:
    """What the broker had sent before it learned that nobody takes work any more."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.acknowledged = False

    async def ack(self) -> None:
        self.acknowledged = True

    async def ack_confirmed(self, *, within: float) -> bool:
        raise AssertionError

    async def in_progress(self) -> None: ...


async def test_what_comes_while_an_idle_worker_stops_is_handed_back_before_it_has_stopped(
    worker: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = worker.worker.pool
    puller, running = pool._puller, pool._task
    assert puller is not None
    assert running is not None
    given = worker.assignment()
    late = Late(Message(subjects.work(0, POOL, given.project, given.job_id), encode(given), None, 99, ""))
    close, append = puller.close, worker.bus.append

    async def slowly() -> Sequence[Delivery]:
        left = await close()
        await asyncio.wait({running})  # it has seen that no more will come
        return [*left, late]

    async def far(*what: Any, **how: Any) -> Any:
        for _ in range(20):  # a broker some turns of the loop away
            await asyncio.sleep(0)
        return await append(*what, **how)

    monkeypatch.setattr(puller, "close", slowly)
    monkeypatch.setattr(worker.bus, "append", far)
    await pool.stop()
    outcome = worker.outcomes()[given.job_id]
    assert (outcome.failure.kind, outcome.called) == (FailureKind.HANDED_BACK, False)
    assert not pool.running
    await worker.stop()
    assert late.acknowledged
