"""Simulated vectors, seen by the vendors' own clients and by our embedders: the same for both."""

from __future__ import annotations

from typing import Any

import httpx
import openai as sdk
import pytest
from google.genai import types
from google.genai.client import AsyncClient
from openai import AsyncOpenAI

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.embeddings import EmbeddingRequest
from job_contracts.failures import Failure, FailureKind
from simulator import Simulator
from workers.dialects import DIALECTS
from workers.dialects.embeddings import EMBEDDERS
from workers.dialects.port import Decoded, Target

SMALL = "text-embedding-3-small"
TEXTS = ["a river", "ein Fluß", "川" * 20]
K = FailureKind

google_warns = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


async def ours(
    simulator: Simulator, provider: str, model: str, request: EmbeddingRequest, **quirks: str
) -> Decoded | Failure:
    """One call as a worker makes it."""
    row: ProviderRow = providers()[provider]
    known = row.model(model)
    target = Target(row, known.model_copy(update={"quirks": {**known.quirks, **quirks}}))
    encoded = EMBEDDERS[row.dialect].encode(request, target)
    auth = {name: template.format(key="sk-of-a-test") for name, template in row.auth.items()}
    version = "/v1" if provider == "openai" else "/v1beta"
    url = f"{simulator.base_url(provider)}{version}{encoded.path}"
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        reply = await client.post(url, content=encoded.body, headers={**encoded.headers, **auth})
    if reply.status_code >= 300:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return DIALECTS[row.dialect].failure(target, reply.status_code, headers, reply.content)
    decoder = EMBEDDERS[row.dialect].decoder(request, target, content_type=reply.headers.get("content-type", ""))
    decoder.feed(reply.content)
    return decoder.finish()


def vectors(outcome: Decoded | Failure) -> list[list[float]]:
    assert isinstance(outcome, Decoded), outcome
    assert outcome.embeddings is not None
    return [list(one) for one in outcome.embeddings.vectors]


@pytest.mark.parametrize("dimensions", [None, 256])
@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_openais_client_and_we_read_the_same_vectors(
    simulator: Simulator, openai: AsyncOpenAI, dimensions: int | None, encoding: str
) -> None:
    # Unless told otherwise the client asks for base64 and unpacks it.
    more = {"encoding_format": "float"} if encoding == "float" else {}
    size = {"dimensions": dimensions} if dimensions else {}
    theirs = await openai.embeddings.create(model=SMALL, input=TEXTS, **more, **size)  # type: ignore[arg-type]
    request = EmbeddingRequest(inputs=tuple(TEXTS), dimensions=dimensions)
    found = await ours(simulator, "openai", SMALL, request, embed_encoding=encoding)
    assert vectors(found) == [row.embedding for row in theirs.data]
    assert isinstance(found, Decoded)
    assert (found.model, found.usage.input) == (theirs.model, theirs.usage.prompt_tokens)
    assert found.embeddings is not None
    assert found.embeddings.dimensions == (dimensions or 64)


@google_warns
async def test_googles_client_and_we_read_the_same_vectors(simulator: Simulator, gemini: AsyncClient) -> None:
    config = types.EmbedContentConfig(output_dimensionality=128, task_type="RETRIEVAL_QUERY")
    texts: Any = list(TEXTS)
    theirs = await gemini.models.embed_content(model="gemini-embedding-001", contents=texts, config=config)
    assert theirs.embeddings is not None
    request = EmbeddingRequest(inputs=tuple(TEXTS), dimensions=128, purpose="query")
    found = await ours(simulator, "gemini", "gemini-embedding-001", request)
    assert vectors(found) == [one.values for one in theirs.embeddings]
    assert isinstance(found, Decoded)
    assert not found.usage.reported
    alone = EmbeddingRequest(inputs=(TEXTS[0],), dimensions=128)
    one = await ours(simulator, "gemini", "gemini-embedding-001", alone, embed_method="embedContent")
    assert vectors(one) == vectors(found)[:1]


@pytest.mark.parametrize("provider", ["openai", "gemini"])
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("rate_limit@7", {K.RATE_LIMIT}),
        ("overloaded", {K.OVERLOADED}),
        ("server_error", {K.SERVER_ERROR}),
        ("auth", {K.AUTH}),
        ("quota", {K.QUOTA_EXHAUSTED}),
        ("model_gone", {K.MODEL_NOT_FOUND}),
        ("html@200", {K.MALFORMED_RESPONSE}),
        ("empty_body", {K.MALFORMED_RESPONSE}),
        ("malformed_json", {K.MALFORMED_RESPONSE, K.STREAM_TRUNCATED}),
    ],
)
async def test_every_fault_is_the_failure_it_shows(
    simulator: Simulator, provider: str, fault: str, kinds: set[FailureKind]
) -> None:
    model = SMALL if provider == "openai" else "gemini-embedding-001"
    found = await ours(simulator, provider, f"{model}+fault={fault}", EmbeddingRequest(inputs=tuple(TEXTS)))
    assert isinstance(found, Failure), found
    assert found.kind in kinds, found


async def test_a_text_longer_than_the_window_is_refused_and_many_short_ones_are_not(
    simulator: Simulator, openai: AsyncOpenAI
) -> None:
    model = f"{SMALL}+context=100"
    await openai.embeddings.create(model=model, input=["about twenty letters"] * 200)
    found = await ours(simulator, "openai", model, EmbeddingRequest(inputs=("x" * 2_000,)))
    assert isinstance(found, Failure)
    assert found.kind is K.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    "wrong",
    [{"input": []}, {"input": [""]}, {"input": "a", "dimensions": -1}, {"input": ["a"] * 2_049}],
    ids=["none", "empty", "dimensions", "many"],
)
async def test_what_openai_refuses_is_refused(openai: AsyncOpenAI, wrong: dict[str, object]) -> None:
    with pytest.raises(sdk.BadRequestError):
        await openai.embeddings.create(model=SMALL, **wrong)  # type: ignore[arg-type]
