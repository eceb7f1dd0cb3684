"""The dialects against recorded traffic: what they read equals what the vendors' own SDKs read, however it is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from job_contracts.failures import Failure
from tests.conformance.recordings import OURS, Exchange, compare, exchanges, needs_recordings
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

pytestmark = needs_recordings

CATEGORY_OF = {"malformed_response": "server_error", "reset": "connection", "connect": "connection"}
"""Our kinds of failure in the words of the expectations, where they differ."""

_REASONED = "the answer says reasoning_tokens, which the expectation leaves out"
MISLABELLED = {
    "cohere/cohere.v2.chat.plain.ruby-llm.chat-citations-with-cohere-command-a-plus-05-2026-cites-tool.00": _REASONED,
    "cohere/cohere.v2.chat.plain.ruby-llm.chat-citations-with-cohere-command-a-plus-05-2026-cites-tool.01": _REASONED,
    "cohere/cohere.v2.chat.stream.langchain-cohe.test-sql-agent.01": (
        "the stream ends with ERROR, INVALID_TOOL_GENERATION and no answer; the SDK leaves that to its caller"
    ),
    "bedrock/converse.plain.langchain-aws.test-citations-document1-.yaml.01": (
        "the text the model wrote under its citations is part of the answer; the expectation leaves it out"
    ),
    "gemini/streamGenerateContent.stream.ai.google-stream-tool-call-arguments.chunks.00": (
        "the SDK does not put a call that comes in pieces together and counts every piece as a call"
    ),
    "mistral/chat.completions.plain.pydantic-ai.test-multimodal-tool-return-matrix-tool-return-content-url-i.01": (
        "the answer says num_cached_tokens, which the SDK's model does not know"
    ),
    "mistral/chat.completions.stream.prism.stream-reasoning-model-1-1.00": (
        "the answer says num_cached_tokens, which the SDK's model does not know"
    ),
}
"""Expectations that are wrong, each with the reason."""

OUTSIDE = {
    "snowflake": "fills every field with empty values; the SDK reads calls and refusals of nothing in them",
}
"""Providers whose expectations show such artefacts throughout: compared in text and usage only."""


def cuts(exchange: Exchange) -> Iterator[tuple[str, bytes, int]]:
    """The body as it came, and a stream also cut into pieces of seven bytes and with CRLF line ends."""
    yield "whole", exchange.body, len(exchange.body) or 1
    if exchange.format in {"sse", "ndjson"} and exchange.status < 300:
        yield "sevens", exchange.body, 7
        crlf = exchange.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield "crlf", crlf, len(crlf)
        yield "crlf in sevens", crlf, 7
    elif exchange.is_stream and exchange.status < 300:
        yield "sevens", exchange.body, 7


def read(exchange: Exchange, body: bytes, size: int) -> Decoded | Failure:
    dialect = DIALECTS[exchange.dialect]
    if exchange.status >= 300:
        return dialect.failure(exchange.target, exchange.status, exchange.headers, body)
    decoder = dialect.decoder(exchange.target, content_type=exchange.headers.get("content-type", ""))
    for at in range(0, len(body), size):
        decoder.feed(body[at : at + size])
    return decoder.finish()


def as_compared(outcome: Decoded | Failure) -> dict[str, Any]:
    """An outcome in the form ``compare`` takes."""
    if isinstance(outcome, Failure):
        category = CATEGORY_OF.get(outcome.kind.value, outcome.kind.value)
        return {"error": {"category": category, "retry_after_s": outcome.retry_after}}
    answer, usage = outcome.answer, outcome.usage
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls],
        "finish_norm": outcome.finish_reason.value,
        "refusal": answer.refusal,
        "usage": usage.model_dump(include=_KINDS) if usage.reported else None,
    }


_KINDS = {"input", "output", "cache_read", "cache_write", "reasoning"}


def differences(exchange: Exchange) -> list[str]:
    found = []
    for name, body, size in cuts(exchange):
        got = as_compared(read(exchange, body, size))
        if exchange.provider in OUTSIDE and "error" not in got:
            got = {"text": got["text"], "usage": got["usage"]}
        found += [f"{exchange.id} ({name}): {difference}" for difference in compare()(exchange.expected, got)]
    return found


def judged(kept: Callable[[Exchange], bool]) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    unexpected: list[str] = []
    for exchange in exchanges():
        if not kept(exchange):
            continue
        kind = "failures" if exchange.is_failure else "answers"
        counts[kind] += 1
        found = differences(exchange)
        if not found:
            counts[f"{kind} equal"] += 1
        elif exchange.id not in MISLABELLED:
            unexpected += found
    return counts, unexpected


@pytest.mark.parametrize("provider", [*OURS, "every other provider"])
def test_recorded_answers_and_failures_are_read_as_the_vendor_reads_them(
    provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts, unexpected = judged(
        lambda exchange: (exchange.provider if exchange.provider in OURS else _OTHER) == provider
    )
    with capsys.disabled():
        print(f"\n{provider}: {_told(counts, 'answers')}, {_told(counts, 'failures')}")
    assert counts["answers"], "no recordings were found"
    assert not unexpected, "\n".join(unexpected)


_OTHER = "every other provider"


def _told(counts: Mapping[str, int], kind: str) -> str:
    return f"{counts[f'{kind} equal']} of {counts[kind]} {kind} equal"


def test_the_list_of_wrong_expectations_names_only_those_that_differ() -> None:
    by_id = {exchange.id: exchange for exchange in exchanges()}
    assert not [name for name in MISLABELLED if not differences(by_id[name])]


def test_a_stream_cut_before_its_end_is_never_an_answer() -> None:
    """At every event of every recorded stream but after the last words."""
    wrong = []
    for exchange in exchanges():
        if not exchange.is_stream or exchange.status >= 300 or exchange.is_failure:
            continue
        whole = read(exchange, exchange.body, len(exchange.body))
        if isinstance(whole, Failure):
            assert exchange.id in MISLABELLED
            continue
        body = exchange.body.replace(b"\r\n", b"\n")
        end = b"\n" if exchange.format == "ndjson" else b"\n\n"
        events = body.split(end)
        for kept in range(len(events)):
            cut = read(exchange, end.join(events[:kept]), 4096)
            if isinstance(cut, Decoded) and cut.answer != whole.answer:
                wrong.append(f"{exchange.id}: {kept} of {len(events)} events are taken for the answer")
    assert not wrong, "\n".join(wrong)


def test_a_stream_of_frames_cut_before_its_end_is_never_an_answer() -> None:
    """At every byte near a frame's border; without the last frame, which tells the usage, the answer is whole."""
    wrong, cut_at = [], 0
    for exchange in exchanges():
        if exchange.format != "aws-eventstream" or exchange.status >= 300 or exchange.is_failure:
            continue
        whole = read(exchange, exchange.body, len(exchange.body))
        assert isinstance(whole, Decoded)
        borders, at = [], 0
        while at < len(exchange.body):
            at += int.from_bytes(exchange.body[at : at + 4], "big")
            borders.append(at)
        for kept in sorted({border + by for border in [0, *borders[:-1]] for by in (-1, 0, 1, 13)} & {*range(at)}):
            cut_at += 1
            cut = read(exchange, exchange.body[:kept], 4096)
            if isinstance(cut, Decoded) and (cut.answer != whole.answer or kept < borders[-2]):
                wrong.append(f"{exchange.id}: {kept} of {at} bytes are taken for the answer")
    assert cut_at
    assert not wrong, "\n".join(wrong)


_MEDIA = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "aws-eventstream": "application/vnd.amazon.eventstream",
}


def streamed(exchange: Exchange) -> str:
    """What the header of such a stream says."""
    return _MEDIA[exchange.format]


def test_deltas_add_up_to_the_answer() -> None:
    wrong = []
    for exchange in exchanges():
        if not exchange.is_stream or exchange.status >= 300 or exchange.is_failure or exchange.id in MISLABELLED:
            continue
        for size in (7, 1000, len(exchange.body)):
            decoder = DIALECTS[exchange.dialect].decoder(exchange.target, content_type=streamed(exchange))
            deltas = [
                delta
                for at in range(0, len(exchange.body), size)
                for delta in decoder.feed(exchange.body[at : at + size])
            ]
            whole = decoder.finish()
            assert isinstance(whole, Decoded), exchange.id
            text = "".join(delta.text for delta in deltas if delta.type == "text")
            reasoning = "".join(delta.text for delta in deltas if delta.type == "reasoning")
            calls: dict[int, tuple[str, str, str]] = {}
            for delta in deltas:
                if delta.type == "tool_call":
                    call, name, arguments = calls.get(delta.index, (delta.id or "", delta.name or "", ""))
                    calls[delta.index] = (call, name, arguments + delta.arguments)
            told = [(call, name, arguments if arguments.strip() else "{}") for call, name, arguments in calls.values()]
            answer = whole.answer
            if (text, reasoning) != (answer.text, answer.reasoning):
                wrong.append(f"{exchange.id} in {size}s: text or reasoning")
            if told != [(call.id, call.name, call.arguments) for call in answer.tool_calls]:
                wrong.append(f"{exchange.id} in {size}s: {told} are not {answer.tool_calls}")
    assert not wrong, "\n".join(wrong)
