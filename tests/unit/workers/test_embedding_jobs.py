"""A worker with embedding jobs: one call each, one result, the cost told; what is wrong is an outcome."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from catalogue.rows import ModelRow, ProviderRow
from job_contracts.attempts import Adaptation
from job_contracts.chat import Usage
from job_contracts.embeddings import Embeddings, packed
from job_contracts.failures import FailureKind
from job_contracts.jobs import Job, JobState
from tests.support.upstream import Upstream, error, response, upstream
from tests.support.worker import Bench, bench

TWO = ((0.5, 1.0), (0.25, -1.0))


def job(*inputs: str, job_id: str = "stem-1", **wanted: Any) -> Job:
    asked = {"inputs": inputs or ("a", "b"), **wanted}
    return Job.model_validate(
        {"id": job_id, "kind": "embedding", "route": "fast", "embedding": asked, "tags": {"team": "blue"}}
    )


def answer(vectors: Sequence[Sequence[float]] = TWO, **usage: int) -> bytes:
    data = [{"index": at, "embedding": packed(vector)} for at, vector in enumerate(vectors)]
    return response(json.dumps({"object": "list", "data": data, "model": "m-1", "usage": usage or None}))


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([answer(prompt_tokens=9, total_tokens=9)]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


async def test_an_embedding_job_ends_in_one_result_with_its_vectors_and_a_fact(
    worker: Bench, provider: Upstream
) -> None:
    given = await worker.hand(worker.assignment(job=job(dimensions=2)))
    result = await worker.result(given)
    assert (result.state, result.answer, result.finish_reason) == (JobState.SUCCEEDED, None, None)
    assert result.embeddings == Embeddings(data=tuple(map(packed, TWO)), dimensions=2)
    assert (result.usage, result.model) == (Usage(input=9), "m-1")
    assert provider.asked[0].line == "POST /embeddings HTTP/1.1"
    assert provider.asked[0].json["input"] == ["a", "b"]
    fact = worker.facts()["default.stem-1.1"]
    assert (fact.won, fact.usage, fact.tags) == (True, Usage(input=9), {"team": "blue"})
    assert worker.settlements()["stem-1"].usage == Usage(input=9)
    assert worker.work_left() == 0


async def test_it_is_never_streamed_though_somebody_asked_for_tokens(worker: Bench, provider: Upstream) -> None:
    given = await worker.hand(worker.assignment(job=job(), stream=True))
    assert (await worker.result(given)).embeddings is not None
    assert "stream" not in provider.asked[0].json
    assert worker.chunks(given) == []


async def test_a_routes_instructions_mean_nothing_to_it(worker: Bench) -> None:
    adaptation = Adaptation(system_append="Be brief.")
    result = await worker.result(await worker.hand(worker.assignment(job=job(), adaptation=adaptation)))
    assert result.attempts[0].losses == ()


async def test_usage_that_is_not_told_is_estimated_from_the_texts(worker: Bench, provider: Upstream) -> None:
    provider.play([answer()])
    result = await worker.result(await worker.hand(worker.assignment(job=job("a river in the north", "b"))))
    assert not result.usage.reported
    assert 3 <= result.usage.input <= 10
    assert result.usage.output == 0


async def test_a_loss_is_in_the_attempts_record(worker: Bench) -> None:
    result = await worker.result(await worker.hand(worker.assignment(job=job(purpose="query"))))
    assert [loss.field for loss in result.attempts[0].losses] == ["embedding.purpose"]


async def test_a_large_result_goes_to_a_blob(worker: Bench, provider: Upstream) -> None:
    wide = [[0.5] * 200_000, [0.25] * 200_000]
    provider.play([answer(wide, prompt_tokens=2)])
    given = await worker.hand(worker.assignment(job=job()))
    pointer = await worker.result(given)
    assert pointer.blob is not None
    assert pointer.embeddings is None
    body = await worker.mine.get_blob("default.stem-1", pointer.blob)
    assert json.loads(body)["embeddings"]["dimensions"] == 200_000


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answer(TWO[:1], prompt_tokens=2), FailureKind.MALFORMED_RESPONSE),
        (answer(((0.5,), (1.0, 2.0)), prompt_tokens=2), FailureKind.MALFORMED_RESPONSE),
        (response('{"error": {"type": "overloaded_error", "message": "overloaded"}}'), FailureKind.OVERLOADED),
        (error(429, "rate_limit_exceeded"), FailureKind.RATE_LIMIT),
        (response("<html>"), FailureKind.MALFORMED_RESPONSE),
    ],
    ids=["missing", "lengths", "in a 200", "429", "page"],
)
async def test_what_is_no_set_of_vectors_is_an_outcome(
    worker: Bench, provider: Upstream, script: bytes, kind: FailureKind
) -> None:
    provider.play([script])
    outcome = await worker.outcome(await worker.hand(worker.assignment(job=job())))
    assert outcome.failure.kind is kind
    assert outcome.called
    assert worker.results() == {}


@pytest.mark.parametrize(
    ("dialect", "kind", "words"),
    [
        ("openai_chat", FailureKind.REQUEST_EXCEEDS_LIMIT, "2 inputs, and m takes 1"),
        ("anthropic", FailureKind.UNSUPPORTED_PARAM, "no embeddings in the dialect 'anthropic'"),
    ],
)
async def test_what_cannot_be_asked_here_is_an_outcome_without_a_call(
    provider: Upstream, dialect: str, kind: FailureKind, words: str
) -> None:
    few = ModelRow(name="m", quirks={"embed_most": 1})
    row = ProviderRow.model_validate({"name": "alpha", "dialect": dialect, "base_url": provider.url, "models": [few]})
    async with bench(provider.url, dialect=dialect, catalogue={"alpha": row}) as worker:
        outcome = await worker.outcome(await worker.hand(worker.assignment(job=job())))
    assert outcome.failure.kind is kind
    assert words in outcome.failure.message
    assert outcome.failure.remedy
    assert not outcome.called
    assert outcome.record.usage == Usage()
    assert provider.asked == []
    assert worker.facts() == {}
