"""Every provider of the catalogue through its dialect: a whole conversation out, an answer, a stream and failures in.

A new file in ``catalogue/providers`` is picked up by itself. Where a model speaks another dialect than its provider,
that is tried as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest

from catalogue.load import providers
from catalogue.quirks import quirks_of
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Conversation, Settings
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Loss
from tests.unit.dialects.samples import DOCUMENTS, STREAMS
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target

CONVERSATION = Conversation.model_validate(
    {
        "messages": [
            {"role": "system", "content": "You are a weather service."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Which city is this, and how is its weather?"},
                    {"type": "image", "media_type": "image/png", "data": "iVBORw0KGgo="},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_call", "id": "call_0123456789", "name": "weather", "arguments": '{"city": "Bern"}'},
                ],
            },
            {"role": "tool", "tool_call_id": "call_0123456789", "content": "11 degrees"},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [
            {
                "name": "weather",
                "description": "The weather of a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            }
        ],
        "tool_choice": "auto",
    }
)
SETTINGS = Settings(max_tokens=512, temperature=0.7, top_p=0.9, stop=("END",), seed=7)
SAID = ("You are a weather service.", "Which city is this", "Let me see.", "Bern", "11 degrees", "And tomorrow?")


@cache
def packaged() -> Mapping[str, ProviderRow]:
    """The packaged providers, read once: reading all files costs more than a test of one."""
    return providers()


@cache
def spoken() -> list[Any]:
    """Each packaged provider with a model for each dialect it speaks, as far as there is code for it here."""
    return [
        pytest.param(name, dialect, model, id=f"{name}-{dialect}")
        for name, row in packaged().items()
        for dialect, model in sorted(_models(row).items())
        if dialect in DIALECTS
    ]


STREAM_TYPES = {"bedrock": "application/vnd.amazon.eventstream", "ollama": "application/x-ndjson"}
"""Content types of streams that are no server-sent events."""


def _models(row: ProviderRow) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for model in row.known():
        if model.kind == "chat":
            found.setdefault(model.dialect or row.dialect, model.name)
    # Globs stand for models that no list names; what such a name is filled up with does not matter.
    for model in row.models:
        if model.kind == "chat":
            found.setdefault(model.dialect or row.dialect, _example(model))
    return {row.dialect: "some-model", **found}


def _example(model: ModelRow) -> str:
    return model.name.replace("[5-9]", "5").replace("[6-9]", "6").replace("[1-9]", "1").replace("*", "")


def target(name: str, model: str, *, stream: bool = False) -> Target:
    row = packaged()[name]
    return Target(provider=row, model=row.model(model), stream=stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "dialect", "model"), spoken())
def test_a_whole_conversation_becomes_a_request(name: str, dialect: str, model: str, stream: bool) -> None:
    asked = target(name, model, stream=stream)
    conversation = CONVERSATION.model_copy(update={"settings": SETTINGS})
    encoded = DIALECTS[dialect].encode(conversation, asked)
    assert encoded.path.startswith("/")
    assert "{" not in encoded.path
    assert urlsplit(f"https://x{encoded.path}").path
    assert not {header.lower() for header in encoded.headers} & {"authorization", "x-api-key", "api-key"}
    body = json.loads(encoded.body)
    written = json.dumps(body, ensure_ascii=False)
    assert model in written or model in encoded.path or "%" in encoded.path
    assert all(isinstance(loss, Loss) for loss in encoded.losses)
    dropped = {loss.field for loss in encoded.losses if loss.kind in {"dropped", "converted"}}
    refused = quirks_of(asked.provider, asked.model).refuses
    for said in SAID:
        assert said in written or ("tools" in refused and dropped), (said, encoded.losses)
    for setting, value in SETTINGS.model_dump(exclude_defaults=True).items():
        carried = str(value if not isinstance(value, tuple) else value[0]) in written
        assert carried or any(loss.field.startswith(f"settings.{setting}") for loss in encoded.losses), setting


@pytest.mark.parametrize("form", ["document", "stream"])
@pytest.mark.parametrize(("name", "dialect", "model"), spoken())
def test_a_standard_answer_is_read(name: str, dialect: str, model: str, form: str) -> None:
    body = (DOCUMENTS if form == "document" else STREAMS)[dialect]
    kind = "application/json" if form == "document" else STREAM_TYPES.get(dialect, "text/event-stream")
    decoder = DIALECTS[dialect].decoder(target(name, model, stream=form == "stream"), content_type=kind)
    text = "".join(
        delta.text for at in range(0, len(body), 5) for delta in decoder.feed(body[at : at + 5]) if delta.type == "text"
    )
    answer = decoder.finish()
    assert isinstance(answer, Decoded)
    assert (answer.answer.text, answer.usage.input, answer.usage.output) == ("Héllo 👋", 5, 2)
    assert text in {"Héllo 👋", ""}


@pytest.mark.parametrize(("name", "dialect", "model"), spoken())
def test_standard_failures_are_told_apart(name: str, dialect: str, model: str) -> None:
    speaker, asked = DIALECTS[dialect], target(name, model)

    def failed(status: int, message: str, **headers: str) -> Failure:
        body = json.dumps({"error": {"message": message, "type": "error", "code": None}, "message": message}).encode()
        return speaker.failure(asked, status, headers, body)

    limited = failed(429, "Rate limit reached, slow down", **{"retry-after": "7"})
    assert (limited.kind, limited.retry_after) == (FailureKind.RATE_LIMIT, 7.0)
    assert failed(401, "Invalid API key").kind is FailureKind.AUTH
    assert failed(400, "maximum context length is 8192 tokens").kind is FailureKind.CONTEXT_OVERFLOW
    assert failed(503, "The service is overloaded").kind is FailureKind.OVERLOADED
    assert failed(500, "oops").kind is FailureKind.SERVER_ERROR


def test_the_suite_covers_every_packaged_provider_whose_dialect_there_is() -> None:
    covered = {param.values[0] for param in spoken()}
    assert covered == {name for name, row in packaged().items() if set(_models(row)) & set(DIALECTS)}
    assert len(covered) >= 20
