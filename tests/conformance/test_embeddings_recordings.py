"""Recorded calls for vectors: asked again the same, answers read as the vendor's SDK reads them, failures named."""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from catalogue.quirks import quirks_of
from catalogue.rows import ProviderRow
from job_contracts.embeddings import EmbeddingRequest
from job_contracts.failures import Failure
from tests.conformance.recordings import ROOT, needs_recordings, rows
from workers.dialects.embeddings import EMBEDDERS
from workers.dialects.failures import classify
from workers.dialects.port import Decoded, Target

pytestmark = needs_recordings

METHODS = ("batchEmbedContents", "embedContent", "predict")
NATIVE = {"cohere": "cohere"}
"""Providers whose ``embeddings`` endpoint is not OpenAI's."""
PURPOSES = {
    "search_query": "query",
    "search_document": "document",
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "SEMANTIC_SIMILARITY": "similarity",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}
CATEGORY_OF = {"malformed_response": "server_error"}


@dataclass(frozen=True)
class Recorded:
    """One recorded call."""

    id: str
    dialect: str
    target: Target
    asked: Mapping[str, Any]
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    expected_error: Mapping[str, Any] | None

    @property
    def request(self) -> EmbeddingRequest | None:
        """What was asked, as a job has it; ``None`` for what a job cannot ask (tokens in place of texts, an error)."""
        asked = self.asked
        contents = asked.get("requests") or [asked]
        inputs = asked.get("input") or asked.get("texts")
        if inputs is None:
            inputs = ["".join(part["text"] for part in one["content"]["parts"]) for one in contents]
        inputs = [inputs] if isinstance(inputs, str) else inputs
        size = asked.get("dimensions") or asked.get("output_dimension") or contents[0].get("outputDimensionality")
        if not all(isinstance(text, str) for text in inputs) or (size or 1) < 1:
            return None
        purpose = PURPOSES.get(asked.get("input_type") or contents[0].get("taskType") or "")
        return EmbeddingRequest.model_validate({"inputs": tuple(inputs), "dimensions": size, "purpose": purpose})


@cache
def recorded() -> tuple[Recorded, ...]:
    return tuple(_recorded())


def _recorded() -> Iterator[Recorded]:
    folder = ROOT / "open"
    for row in json.loads((folder / "index.json").read_text("utf-8")):
        method = row["endpoint"] if row["endpoint"] in METHODS else ""
        if not method and row["endpoint"] != "embeddings":
            continue
        exchange = json.loads((folder / row["file"]).read_text("utf-8"))
        request, response = exchange["request"], exchange["response"]
        dialect = "gemini" if method else NATIVE.get(row["provider"], "openai_chat")
        provider = rows().get(row["provider"])
        if provider is None or provider.dialect != dialect:
            plain = {"name": row["provider"], "dialect": dialect, "base_url": "https://recorded.invalid/v1"}
            provider = ProviderRow.model_validate(plain)
        asked = request["body"]
        body = base64.b64decode(response["body_base64"]) if "body_base64" in response else response["body"].encode()
        headers = {name.lower(): str(value[-1]) for name, value in response["headers"].items()}
        yield Recorded(
            id=row["id"],
            dialect=dialect,
            target=Target(provider, provider.model(row["model"])),
            asked=json.loads(asked) if isinstance(asked, str) else asked,
            path=request.get("path") or request.get("url") or "",
            status=response["status"],
            headers=headers,
            body=body,
            expected_error=exchange.get("expected_error"),
        )


def read(one: Recorded, request: EmbeddingRequest, size: int) -> Decoded | Failure:
    media = one.headers.get("content-type", "")
    decoder = EMBEDDERS[one.dialect].decoder(request, one.target, content_type=media)
    for at in range(0, len(one.body), size):
        decoder.feed(one.body[at : at + size])
    return decoder.finish()


def told(one: Recorded) -> tuple[list[tuple[float, ...]], int | None]:
    """Vectors and tokens as whoever reads the documentation reads them: OpenAI's by its own SDK."""
    document = json.loads(one.body)
    if one.dialect == "openai_chat":
        answer = CreateEmbeddingResponse.model_validate_json(one.body, strict=False) if not _packed(document) else None
        if answer is not None:
            ordered = sorted(answer.data, key=lambda row: row.index)
            return [_single(row.embedding) for row in ordered], answer.usage.prompt_tokens
        data = sorted(document["data"], key=lambda row: row["index"])
        whole = [base64.b64decode(row["embedding"]) for row in data]
        return [struct.unpack(f"<{len(one) // 4}f", one) for one in whole], document["usage"]["prompt_tokens"]
    if one.dialect == "cohere":
        vectors = [_single(vector) for vector in document["embeddings"]["float"]]
        return vectors, document["meta"]["billed_units"]["input_tokens"]
    return [_single(row["values"]) for row in document["embeddings"]], None


def _packed(document: Any) -> bool:
    """Of base64 the SDK makes vectors only behind its client."""
    return isinstance(document["data"][0]["embedding"], str)


def _single(vector: list[float]) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector))


def test_recorded_answers_are_read_as_the_vendor_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    for one in recorded():
        if one.status >= 300:
            continue
        vectors, tokens = told(one)
        request = one.request or EmbeddingRequest(inputs=("tokens",) * len(vectors))
        for size in (7, len(one.body)):
            found = read(one, request, size)
            assert isinstance(found, Decoded), (one.id, found)
            assert found.embeddings is not None
            assert list(found.embeddings.vectors) == vectors, one.id
            assert (found.usage.input, found.usage.reported) == (tokens or 0, tokens is not None), one.id
        more = EmbeddingRequest(inputs=(*request.inputs, "one more"))
        assert isinstance(read(one, more, len(one.body)), Failure), f"{one.id}: a vector is missing"
        counts[one.dialect] += 1
    with capsys.disabled():
        print(f"\nvectors read as the vendors read them: {dict(counts)}")
    assert counts.keys() >= {"openai_chat", "gemini", "cohere"}


def test_recorded_requests_are_asked_again_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    equal = other = 0
    for one in recorded():
        request = one.request
        if request is None:
            other += 1
            continue
        encoded = EMBEDDERS[one.dialect].encode(request, one.target)
        assert essence(one.dialect, json.loads(encoded.body)) == essence(one.dialect, one.asked), one.id
        assert not encoded.losses, one.id
        assert one.path.partition("?")[0].endswith(encoded.path), one.id
        equal += 1
    with capsys.disabled():
        print(f"\n{equal} recorded requests come out the same, {other} ask for what a job has no place for")
    assert equal


def essence(dialect: str, body: Mapping[str, Any]) -> Any:
    """What matters of a request.

    Left out: the form in which vectors come back (we take either), what becomes of texts that are too long
    (``truncate``: we never have them cut), ``max_tokens`` and other fields that are null, the ``role`` of a content
    (``user`` is its default), and whether one text is a list of one.
    """
    found = {name: value for name, value in body.items() if value is not None and name != "encoding_format"}
    if dialect == "gemini":
        texts = [[part["text"] for part in one["content"]["parts"]] for one in found["requests"]]
        rest = [{k: v for k, v in one.items() if k != "content"} for one in found["requests"]]
        return texts, rest
    for name in ("input", "texts"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    if found.get("embedding_types") == ["float"] or found.get("truncate") == "NONE":
        found.pop("embedding_types", None)
        found.pop("truncate", None)
    return found


def test_recorded_failures_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    failures = 0
    for one in recorded():
        if one.status < 300:
            continue
        assert one.expected_error is not None, one.id
        quirks = quirks_of(one.target.provider, one.target.model)
        failure = classify(one.status, one.headers, one.body, quirks, provider=one.target.provider.name)
        category = CATEGORY_OF.get(failure.kind.value, failure.kind.value)
        accepted = one.expected_error.get("accept") or [one.expected_error["category"]]
        assert category in accepted, (one.id, failure)
        failures += 1
    with capsys.disabled():
        print(f"\n{failures} recorded failures named as they should be")
    assert failures
