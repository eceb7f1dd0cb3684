"""An attempt that goes on with what another has sent: where it can, and in every other case it starts over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.chat import FinishReason, Usage
from job_contracts.codec import encode
from job_contracts.failures import FailureKind
from job_contracts.jobs import Job
from job_contracts.stream import Chunk, Delta, EndDelta, ReasoningDelta, StartDelta, TextDelta, ToolCallDelta
from tests.support import builders
from tests.support.upstream import Do, Upstream, chunk, error, event, head, stream, upstream
from tests.support.worker import Bench, bench

START = StartDelta(deployment="beta/m", provider="beta", model="m")
SENT = ("The sea is ", "wide ")


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream(stream("and so is the sky.")) as made:
        yield made


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url, catalogue={"alpha": row(prefill_taken=True)}) as made:
        yield made


def row(**quirks: Any) -> ProviderRow:
    return ProviderRow.model_validate({"name": "alpha", "dialect": "openai_chat", "base_url": "x", "quirks": quirks})


async def sent(worker: Bench, job: str, *chunks: tuple[Delta, ...], generation: int = 1, first: int = 1) -> None:
    """What an earlier attempt has published."""
    for number, deltas in enumerate(chunks, first):
        told = Chunk(generation=generation, sequence=number, deltas=deltas)
        await worker.mine.append(subjects.tokens(builders.assignment(builders.job(job)).project, job), encode(told))


def second(worker: Bench, job: Job, **over: Any) -> Assignment:
    fields = {"attempt": 2, "continues": 1, "stream": True, "switched_from": "beta/m", "switch_reason": "reset"}
    return worker.assignment(job=job, **{**fields, **over})


def texts(*pieces: str) -> list[tuple[Delta, ...]]:
    return [(START,), *((TextDelta(text=piece),) for piece in pieces)]


async def test_an_answer_that_broke_off_is_gone_on_with_and_told_as_one(worker: Bench, provider: Upstream) -> None:
    await sent(worker, "stem-a", *texts(*SENT))
    given = await worker.hand(second(worker, builders.job("stem-a")))
    result = await worker.result(given)
    assert result.answer is not None
    assert result.answer.text == "The sea is wide and so is the sky."
    assert result.finish_reason is FinishReason.STOP
    assert provider.asked[0].json["messages"][-1] == {"role": "assistant", "content": "The sea is wide"}
    assert result.attempts[-1].continued == 1
    assert result.usage.output == 3, "what this attempt has used, not what the whole answer would"
    told = [one for one in worker.chunks(given) if one.generation == 2]
    begun = START.model_copy(update={"deployment": "alpha/m", "provider": "alpha", "continues": 1})
    begun = begun.model_copy(update={"switched_from": "beta/m", "reason": "reset"})
    assert told[0].deltas == (begun, TextDelta(text="The sea is wide "))
    after = [delta.text for one in told[1:] for delta in one.deltas if isinstance(delta, TextDelta)]
    assert "".join(after) == "and so is the sky."


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"name": "look"}]},
        {"settings": {"response_format": {"type": "json_object"}}},
        {"settings": {"response_format": {"type": "json_schema", "json_schema": {"type": "object"}}}},
        {"settings": {"reasoning_effort": "low"}},
        {"settings": {"reasoning_budget": 99}},
        {"settings": {"logprobs": True}},
        {"settings": {"max_tokens": 12}},
        {"settings": {"stop": ["e !"]}},
        {"messages": [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "Well,"}]},
    ],
)
async def test_what_cannot_be_taken_up_in_the_middle_starts_over(
    worker: Bench, provider: Upstream, asked: dict[str, Any]
) -> None:
    whole = '{"so": "is the sky"}'  # also what JSON must be
    provider.play(stream(whole))
    await sent(worker, "stem-a", *texts(*SENT))
    job = builders.job("stem-a", conversation=builders.conversation(**asked))
    result = await worker.result(await worker.hand(second(worker, job)))
    await starts_over(worker, provider, result.answer.text if result.answer is not None else None, whole)
    assert result.attempts[-1].continued is None


async def starts_over(worker: Bench, provider: Upstream, answer: str | None, whole: str = "and so is the sky.") -> None:
    assert answer == whole
    assert "The sea" not in provider.asked[0].body.decode()
    assert worker.said("attempt.restarted")


END = EndDelta(finish_reason=FinishReason.STOP, usage=Usage())


@pytest.mark.parametrize(
    "told",
    [
        [],
        [(START,)],
        [(START,), (TextDelta(text=" \n"),)],
        [(START,), (ReasoningDelta(text="Hm."),), (TextDelta(text="The sea"),)],
        [(START,), (TextDelta(text="The sea"),), (ToolCallDelta(index=0, id="1", name="look"),)],
        [(START,), (TextDelta(text="The sea is wide."),), (END,)],
        [(START,), (TextDelta(text="x" * 100_001),)],
    ],
    ids=["nothing", "no text", "blanks", "reasoning", "a call", "its end", "too much"],
)
async def test_an_answer_starts_over_where_anything_but_some_text_was_sent(
    worker: Bench, provider: Upstream, told: list[tuple[Delta, ...]]
) -> None:
    await sent(worker, "stem-a", *told)
    result = await worker.result(await worker.hand(second(worker, builders.job("stem-a"))))
    await starts_over(worker, provider, result.answer.text if result.answer is not None else None)


@pytest.mark.parametrize("first", [2, 3])
async def test_an_answer_whose_beginning_has_expired_starts_over(worker: Bench, provider: Upstream, first: int) -> None:
    await sent(worker, "stem-a", *texts(*SENT)[1:], first=first)
    result = await worker.result(await worker.hand(second(worker, builders.job("stem-a"))))
    await starts_over(worker, provider, result.answer.text if result.answer is not None else None)


async def test_a_chunk_that_was_lost_on_the_way_is_not_joined_over(worker: Bench, provider: Upstream) -> None:
    await sent(worker, "stem-a", *texts("The sea "))
    await sent(worker, "stem-a", (TextDelta(text="wide"),), first=4)
    result = await worker.result(await worker.hand(second(worker, builders.job("stem-a"))))
    await starts_over(worker, provider, result.answer.text if result.answer is not None else None)


async def test_a_target_of_which_nothing_is_known_is_not_asked_to_go_on(provider: Upstream) -> None:
    async with bench(provider.url, catalogue={"alpha": row()}) as worker:
        await sent(worker, "stem-a", *texts(*SENT))
        result = await worker.result(await worker.hand(second(worker, builders.job("stem-a"))))
        await starts_over(worker, provider, result.answer.text if result.answer is not None else None)


async def test_the_fields_that_ask_for_it_are_sent_only_then(provider: Upstream) -> None:
    fields = ["continue_final_message=true", "add_generation_prompt=false"]
    async with bench(provider.url, catalogue={"alpha": row(prefill_sent=fields)}) as worker:
        await sent(worker, "stem-a", *texts(*SENT))
        await worker.result(await worker.hand(second(worker, builders.job("stem-a"))))
        await worker.result(await worker.hand(worker.assignment(stream=True)))
        continued, plain = (asked.json for asked in provider.asked)
        assert (continued["continue_final_message"], continued["add_generation_prompt"]) == (True, False)
        assert "continue_final_message" not in plain


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_target_that_refuses_the_beginning_does_not_fail_the_job(
    worker: Bench, provider: Upstream, status: int
) -> None:
    provider.play([error(status, "invalid_request_error", "Cannot set last message role to assistant")])
    await sent(worker, "stem-a", *texts(*SENT))
    outcome = await worker.outcome(await worker.hand(second(worker, builders.job("stem-a"))))
    assert outcome.failure.kind is FailureKind.PREFILL_REFUSED
    assert not outcome.failure.permits.counts
    assert outcome.record.continued == 1


async def test_a_failure_that_has_nothing_to_do_with_it_keeps_its_name(worker: Bench, provider: Upstream) -> None:
    provider.play([error(503, "overloaded", "no")])
    await sent(worker, "stem-a", *texts(*SENT))
    outcome = await worker.outcome(await worker.hand(second(worker, builders.job("stem-a"))))
    assert outcome.failure.kind is FailureKind.OVERLOADED


async def test_a_third_attempt_goes_on_with_all_that_two_have_sent(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), chunk(event("and so ")), Do.RESET], stream("is the sky."))
    await sent(worker, "stem-a", *texts(*SENT))
    broken = await worker.outcome(await worker.hand(second(worker, builders.job("stem-a"))))
    assert broken.failure.produced
    third = second(worker, builders.job("stem-a"), attempt=3, continues=2, history=(broken.record,))
    result = await worker.result(await worker.hand(third))
    assert result.answer is not None
    assert result.answer.text == "The sea is wide and so is the sky."
    assert [record.continued for record in result.attempts] == [1, 2]


async def test_what_a_lost_worker_did_not_send_is_taken_from_the_attempt_before_it(worker: Bench) -> None:
    """It was killed after it had read, before it sent; or as soon as it had begun its stream."""
    for job, opened in (("stem-a", ()), ("stem-b", ((START,),))):
        await sent(worker, job, *texts(*SENT))
        await sent(worker, job, *opened, generation=2)
        result = await worker.result(await worker.hand(second(worker, builders.job(job), attempt=3, continues=2)))
        assert result.answer is not None
        assert result.answer.text == "The sea is wide and so is the sky."
        assert result.attempts[-1].continued == 1


async def test_the_bound_of_the_whole_answer_holds_for_what_is_left_of_it(worker: Bench, provider: Upstream) -> None:
    await sent(worker, "stem-a", *texts(*SENT))
    job = builders.job("stem-a", conversation=builders.conversation(settings={"max_tokens": 100}))
    result = await worker.result(await worker.hand(second(worker, job)))
    assert provider.asked[0].json["max_tokens"] == 96
    assert [(loss.kind, loss.field) for loss in result.attempts[-1].losses] == [("clamped", "settings.max_tokens")]


async def test_what_is_repeated_at_the_joint_is_told_once(worker: Bench, provider: Upstream) -> None:
    provider.play(stream("The sea is", " wide and so is the sky."))
    await sent(worker, "stem-a", *texts("The sea is wide and"))
    given = await worker.hand(second(worker, builders.job("stem-a")))
    result = await worker.result(given)
    assert result.answer is not None
    assert result.answer.text == "The sea is wide and so is the sky."
    new = [delta for one in worker.chunks(given) if one.generation == 2 for delta in one.deltas]
    assert "".join(delta.text for delta in new if isinstance(delta, TextDelta)) == result.answer.text
