"""Embedding jobs through everything: producer, broker, scheduler, worker, a simulated provider, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.failures import FailureKind
from producer_sdk import JobFailed
from simulator import Settings, Simulator
from simulator.vectors import vector_of
from tests.support.gateway import gateway

SMALL, GOOGLE = "text-embedding-3-small", "gemini-embedding-001"
TEXTS = [f"text number {number}" for number in range(250)]


def rows() -> Mapping[str, ProviderRow]:
    """The packaged rows, OpenAI's with a model that takes few texts in a call."""
    known = dict(providers())
    few = ModelRow(name="few", capabilities=frozenset({"embeddings"}), quirks={"embed_most": 3})
    openai = known["openai"]
    known["openai"] = openai.model_copy(update={"models": (few, *openai.models)})
    return known


def values(simulator: Simulator) -> dict[str, Any]:
    return {
        "providers": {
            "openai": {"key": "sk-one", "base_url": f"{simulator.base_url('openai')}/v1", "slots": 8},
            "gemini": {"key": "sk-two", "base_url": f"{simulator.base_url('gemini')}/v1beta", "slots": 8},
        },
        "routes": {
            "small": {"deployments": [f"openai/{SMALL}"]},
            "google": {"deployments": [f"gemini/{GOOGLE}"]},
            "few": {"deployments": ["openai/few"], "max_attempts": 1},
            "fewer": {"deployments": ["openai/few", f"gemini/{GOOGLE}"]},
            "gone": {"deployments": [f"openai/{SMALL}+fault=model_gone"], "max_attempts": 1},
            "chat": {"deployments": ["openai/gpt-4o-mini"]},
            "both": {"deployments": [f"openai/{SMALL}", "openai/gpt-4o-mini"]},
        },
    }


def expected(model: str, texts: list[str], length: int = 64) -> list[tuple[float, ...]]:
    return [tuple(vector_of(model, text, length)) for text in texts]


async def test_vectors_come_home_in_order_from_every_dialect_and_each_kind_finds_its_model(tmp_path: Path) -> None:
    async with (
        Simulator(Settings(longest_hold=5.0)) as simulator,
        gateway(tmp_path, values(simulator), rows()) as whole,
        whole.producer(timeout=30) as producer,
    ):
        # Many texts are several jobs, put together in order.
        found = await producer.embed(model="small", inputs=TEXTS, tags={"team": "search"})
        assert found.vectors == expected(SMALL, TEXTS)
        assert (len(found.jobs), found.model, found.dimensions) == (3, SMALL, 64)
        assert found.usage.reported
        assert found.usage.input == sum(-(-sum(map(len, TEXTS[at : at + 96])) // 4) for at in (0, 96, 192))

        # A provider that tells no usage: estimated, and said so.
        google = await producer.embed(model="google", inputs=TEXTS[:3], dimensions=128, purpose="query")
        assert google.vectors == expected(GOOGLE, TEXTS[:3], 128)
        assert google.usage.input > 0
        assert not google.usage.reported

        # Vectors too large for a message lie in a blob.
        large = await producer.embed(model="small", inputs=TEXTS[:96], dimensions=3_072)
        assert large.vectors == expected(SMALL, TEXTS[:96], 3_072)

        # More texts than the target takes: no call, the numbers; another deployment may take them.
        with pytest.raises(JobFailed) as caught:
            await producer.embed(model="few", inputs=TEXTS[:4])
        (attempt,) = caught.value.attempts
        assert attempt.failure is not None
        assert attempt.failure.kind is FailureKind.REQUEST_EXCEEDS_LIMIT
        assert "4 inputs" in attempt.failure.message
        fewer = await producer.embed(model="fewer", inputs=TEXTS[:4])
        assert fewer.vectors == expected(GOOGLE, TEXTS[:4])

        # A failure says of which texts.
        with pytest.raises(JobFailed) as gone:
            await producer.embed(model="gone", inputs=TEXTS[:3], batch_size=2)
        assert gone.value.inputs is not None
        assert "inputs[" in str(gone.value)

        # Neither kind of job goes to a model of the other.
        with pytest.raises(JobFailed) as none:
            await producer.embed(model="chat", inputs="a")
        assert none.value.kind is FailureKind.NO_DEPLOYMENT
        assert "embeddings" in str(none.value)
        with pytest.raises(JobFailed) as silent:
            await producer.complete(model="small", messages="Hello")
        assert silent.value.kind is FailureKind.NO_DEPLOYMENT
        assert (await producer.complete(model="both", messages="Hello")).model == "gpt-4o-mini"
        assert (await producer.embed(model="both", inputs="a")).model == SMALL

        await whole.settled()
        facts = await whole.facts(10)
        of_team = [fact for fact in facts.values() if fact.tags == {"team": "search"}]
        assert sum(fact.usage.input for fact in of_team) == found.usage.input
        assert all(fact.won for fact in of_team)
        assert not any(fact.model == "few" for fact in facts.values()), "what was not called costs nothing"


async def test_a_job_of_its_own_is_replayed_from_its_dead_letter(tmp_path: Path) -> None:
    async with (
        Simulator(Settings(longest_hold=5.0)) as simulator,
        gateway(tmp_path, values(simulator), rows()) as whole,
        whole.producer(timeout=30) as producer,
    ):
        job = await producer.submit_embedding(model="gone", inputs=TEXTS[:2], dimensions=32)
        with pytest.raises(JobFailed):
            await job.result()
        assert (await producer.dead.show(job.id)).job == job.id
        body = await producer.dead.body(job.id)
        assert body.embedding is not None
        assert body.embedding.inputs == tuple(TEXTS[:2])
        again = await producer.dead.replay(job.id, model="small")
        answer = await again.result()
        assert answer.embeddings is not None
        assert list(answer.embeddings.vectors) == expected(SMALL, TEXTS[:2], 32)
