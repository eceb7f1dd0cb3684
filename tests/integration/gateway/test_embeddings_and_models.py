"""Embeddings and lists of models at a running edge, by the vendors' own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from catalogue.load import providers
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.jobs import JobState
from simulator import Settings, Simulator
from simulator.vectors import vector_of
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import gateway
from tests.support.stand_in import PROJECT, key
from tests.support.upstream import Do, upstream

SMALL = "text-embedding-3-small"
TEXTS = [f"text number {number}" for number in range(50)]


def rows() -> Mapping[str, ProviderRow]:
    """The packaged rows, OpenAI's with a model that takes few texts in a call."""
    known = dict(providers())
    few = ModelRow(name="few", capabilities=frozenset({"embeddings"}), quirks={"embed_most": 4})
    openai_row = known["openai"]
    known["openai"] = openai_row.model_copy(update={"models": (few, *openai_row.models)})
    return known


def values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1", "slots": 8}},
        "projects": {PROJECT: {"routes": ["small", "few", "openai/chat", "gone"], "retry_share": 1.0}},
        "routes": {
            "small": {"deployments": [f"openai/{SMALL}"]},
            "few": {"deployments": ["openai/few"], "max_attempts": 1},
            "openai/chat": {"deployments": ["openai/gpt-4o-mini"]},
            "gone": {"deployments": [f"openai/{SMALL}+fault=model_gone"], "max_attempts": 1},
            "hidden": {"deployments": ["openai/gpt-4o-mini"]},
        },
    }


def asking(of: RunningEdge) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{of.url}/v1", api_key=key(), max_retries=0, timeout=30.0)


async def test_texts_are_embedded_in_order_in_as_many_jobs_as_it_takes(tmp_path: Path) -> None:
    async with (
        Simulator(Settings(longest_hold=5.0)) as simulator,
        gateway(tmp_path, values(simulator.base_url("openai")), rows()) as whole,
        edge(whole, embedding_batch=16) as one,
        asking(one) as client,
    ):
        raw = await client.embeddings.with_raw_response.create(model="small", input=TEXTS, dimensions=64)
        found = raw.parse()
        assert [one.index for one in found.data] == list(range(50))
        assert [tuple(one.embedding) for one in found.data] == [tuple(vector_of(SMALL, text, 64)) for text in TEXTS]
        assert (found.model, len(raw.headers["x-penstock-job"].split(","))) == (SMALL, 4)
        assert found.usage.prompt_tokens == found.usage.total_tokens > 50

        plain = await client.embeddings.create(model="small", input="one text", encoding_format="float", dimensions=64)
        assert tuple(plain.data[0].embedding) == tuple(vector_of(SMALL, "one text", 64))

        # One job that fails is the request's failure.
        with pytest.raises(openai.InternalServerError) as too_many:
            await client.embeddings.create(model="few", input=TEXTS)
        assert "input[0:16]: " in str(too_many.value)
        with pytest.raises(openai.BadRequestError) as tokens:
            await client.embeddings.create(model="small", input=[1, 2, 3])
        assert "send the text itself" in str(tokens.value)
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="nowhere", input="a")
        with pytest.raises(openai.InternalServerError):
            await client.embeddings.create(model="gone", input="a")
        await whole.settled()


async def test_jobs_of_a_client_that_has_gone_are_called_off(tmp_path: Path) -> None:
    async with (
        upstream([Do.HANG]) as provider,
        gateway(tmp_path, values(provider.url), rows()) as whole,
        edge(whole, embedding_batch=2) as one,
    ):
        body = {"model": "small", "input": TEXTS[:6]}
        waiting = asyncio.create_task(one.client.post("/v1/embeddings", json=body))
        await eventually(lambda: len(provider.asked) == 3, within=10.0, says="the jobs are not under way")
        waiting.cancel()
        await asyncio.wait({waiting})
        await whole.settled()
        results = await whole.results()
        assert [one.state for one in results.values()] == [JobState.CANCELLED] * 3


async def test_a_key_lists_the_models_it_may_use_in_either_apis_words(tmp_path: Path) -> None:
    async with (
        upstream() as provider,
        gateway(tmp_path, values(provider.url), rows()) as whole,
        edge(whole, scope={"routes": ("openai/chat", "few", "hidden")}) as one,
        asking(one) as client,
        anthropic.AsyncAnthropic(base_url=one.url, api_key=key(), max_retries=0) as other,
    ):
        listed = await client.models.list()
        assert [model.id for model in listed.data] == ["few", "openai/chat"]
        found = await client.models.retrieve("openai/chat")
        assert (found.id, found.object, found.owned_by) == ("openai/chat", "model", "penstock")
        with pytest.raises(openai.NotFoundError) as hidden:
            await client.models.retrieve("hidden")
        assert hidden.value.code == "model_not_found"

        assert [model.id async for model in other.models.list(limit=1)] == ["few", "openai/chat"]
        page = await other.models.list(limit=1)
        assert (page.has_more, page.first_id, page.last_id) == (True, "few", "few")
        assert (await other.models.retrieve("openai/chat")).display_name == "openai/chat"
        with pytest.raises(anthropic.NotFoundError) as missing:
            await other.models.retrieve("hidden")
        assert missing.value.request_id
        body: Any = missing.value.body
        assert body["error"]["type"] == "not_found_error"
