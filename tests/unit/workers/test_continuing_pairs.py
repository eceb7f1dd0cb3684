"""An answer cut after every byte, in every dialect, and gone on with in every dialect that can: one text comes out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.failures import Failure
from job_contracts.stream import TextDelta
from tests.support import builders
from workers.continuing import Said, begun, hindrance
from workers.dialects import DIALECTS
from workers.dialects.port import Decoder, Target
from workers.questions import of_conversation

PIECES = ("The sea ", "is wide,", " and so is", "\n\nthe", " sky — ", "of course", ".\n", "海は広い", " Fin.")
WHOLE = "".join(PIECES)


def openai(pieces: tuple[str, ...]) -> list[bytes]:
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices: list[dict[str, Any]] = [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    choices += [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}
    return [*(_data(frame | {"choices": [choice]}) for choice in choices), _data(frame | usage), b"data: [DONE]\n\n"]


def anthropic(pieces: tuple[str, ...]) -> list[bytes]:
    message = {
        "type": "message_start",
        "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m",
                    "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1}},
    }  # fmt: skip
    text: dict[str, Any] = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    told = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
    events = [message, text, *told, {"type": "content_block_stop", "index": 0}, end, {"type": "message_stop"}]
    return [b"event: %s\n" % str(event["type"]).encode() + _data(event) for event in events]


def gemini(pieces: tuple[str, ...]) -> list[bytes]:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}
    told: list[dict[str, Any]] = [{"content": {"role": "model", "parts": [{"text": piece}]}} for piece in pieces]
    told[-1]["finishReason"] = "STOP"
    return [_data({"candidates": [one | {"index": 0}], "usageMetadata": usage, "modelVersion": "m"}) for one in told]


def ollama(pieces: tuple[str, ...]) -> list[bytes]:
    lines: list[dict[str, Any]] = [
        {"model": "m", "message": {"role": "assistant", "content": piece}, "done": False} for piece in pieces
    ]
    last = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    lines.append(last | {"prompt_eval_count": 9, "eval_count": 4})
    return [json.dumps(line).encode() + b"\n" for line in lines]


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


STREAMS: dict[str, tuple[Callable[[tuple[str, ...]], list[bytes]], str]] = {
    "openai_chat": (openai, "text/event-stream"),
    "anthropic": (anthropic, "text/event-stream"),
    "gemini": (gemini, "text/event-stream"),
    "ollama": (ollama, "application/x-ndjson"),
}


def target(dialect: str) -> Target:
    model = ModelRow(name="m", quirks={"prefill_taken": True})
    row = ProviderRow.model_validate({"name": "p", "dialect": dialect, "base_url": "https://x", "models": [model]})
    return Target(row, model, stream=True)


def texts(decoder: Decoder, data: bytes) -> str:
    return "".join(delta.text for delta in decoder.feed(data) if isinstance(delta, TextDelta))


@pytest.mark.parametrize(("first", "second"), list(itertools.product(STREAMS, STREAMS)))
def test_an_answer_cut_after_every_byte_is_gone_on_with(first: str, second: str) -> None:
    stream, kind = STREAMS[first]
    answers, sent = dict[str, str](), ""
    decoder = DIALECTS[first].decoder(target(first), content_type=kind)
    for byte in b"".join(stream(PIECES)):
        sent += texts(decoder, bytes((byte,)))
        assert WHOLE.startswith(sent)
        if not decoder.complete and sent.strip() and sent not in answers:
            answers[sent] = went_on(second, sent)
    assert set(answers.values()) == {WHOLE}
    assert len(answers) >= len(PIECES) - 1


def went_on(dialect: str, sent: str) -> str:
    """The whole answer, of an attempt that was sent the beginning of it and says no more than what follows."""
    there, conversation = target(dialect), builders.conversation()
    assert hindrance(conversation, there) is None
    made = begun(conversation, Said(sent, 1), there, None)
    assert made is not None
    assert made.carried is not None
    question = of_conversation(made.conversation, there, DIALECTS[dialect], estimate=lambda: 9)
    assert sent.rstrip() in _strings(json.loads(question.encoded.body)), "as it was, and nothing after it"
    stream, kind = STREAMS[dialect]
    rest = WHOLE[len(sent.rstrip()) :]
    decoder = made.carried.read_as_one(question).decoder(content_type=kind, max_bytes=10**6)
    new = "".join(texts(decoder, piece) for piece in stream((rest[:3], rest[3:]) if rest else ("",)))
    decoded = decoder.finish()
    assert not isinstance(decoded, Failure), decoded
    assert decoded.answer.text == sent + new, "the record is what was told"
    return decoded.answer.text


def _strings(value: Any) -> list[str]:
    """All texts of the last thing that is said in a request."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        said = value.get("messages") or value.get("contents")
        return _strings(said[-1] if said else list(value.values()))
    return [text for one in value for text in _strings(one)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("name", "model", "takes"),
    [
        ("anthropic", "claude-sonnet-4-20250514", True),
        ("anthropic", "claude-opus-4-6", False),
        ("anthropic", "claude-of-tomorrow", False),
        ("bedrock", "anthropic.claude-3-5-haiku-20241022-v1:0", True),
        ("bedrock", "amazon.nova-pro-v1:0", False),
        ("vllm", "any", True),
        ("sglang", "any", True),
        ("llamacpp", "any", True),
        ("mistral", "mistral-large-2512", True),
        ("moonshot", "kimi-k2-0905-preview", True),
        ("openai", "gpt-4.1", False),
        ("gemini", "gemini-2.5-flash", False),
        ("cohere", "command-r-plus", False),
        ("openrouter", "anthropic/claude-sonnet-4", False),
    ],
)
def test_of_the_providers_only_those_that_are_known_to_are_asked_to_go_on(name: str, model: str, takes: bool) -> None:
    known = providers()[name]
    why = hindrance(builders.conversation(), Target(known, known.model(model), stream=True))
    assert (why is None) == takes, why
