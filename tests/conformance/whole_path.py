"""Recorded exchanges as jobs: what is submitted, where it is to be answered, and what came of it, to be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from catalogue.rows import ProviderRow
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import ContractError
from job_contracts.failures import FailureKind
from job_contracts.results import Result
from job_contracts.stream import ReasoningToken, StreamEvent, Token, ToolCall
from producer_sdk import JobFailed, Producer
from producer_sdk.options import SETTINGS
from tests.conformance.recordings import Exchange
from tests.conformance.replay import Replay
from tests.conformance.test_dialects_recordings import CATEGORY_OF
from tests.conformance.test_dialects_requests import FAMILY, target
from tests.conformance.translate import Untranslatable, translate

KEY = "sk-of-the-recordings"
PATIENCE = 4.0
"""Seconds until the deadline of a job that is turned away for a limit: it waits for the limit to open, until then."""
STAND_IN = Conversation(messages=(UserTurn(role="user", content="What was recorded?"),))
"""Asks for an answer whose own request is no job."""

CUTS: Mapping[str, str] = {"as recorded": "", "in sevens": "split=7", "crlf": "crlf", "crlf in sevens": "crlf,split=7"}
"""Ways a stream comes over the wire, with the replay server's word for them; the answer is the same in all."""

NO_JOB: Mapping[str, str] = {
    r"input_audio|audio/|^audio\b": "audio in questions or answers",
    r"guardContent|guardrailConfig": "guardrails of the account",
    r"\.document: ": "documents with citations or a context",
    r"\.citations: ": "sources in the answer for what stands in documents",
    r"^n: ": "several answers to one question (n > 1): a job has one",
    r"web_search_options|server_tool_use|runs at the provider": "tools that run at the provider",
    r"the provider keeps": "what is kept at the provider (prompts, earlier answers)",
    r"tool_reference|tool_addition": "tools that are added or found in the middle of a conversation",
}
"""What a request asks for that a job has no place for, by a pattern of what the translator says of it."""


@dataclass(frozen=True)
class Asked:
    """What a recording is asked with.

    ``kind``: ``own`` for its own request; ``silent`` where none was recorded, ``no job`` where a job cannot say what it
    says, ``invalid`` where it is wrong in itself: then ``conversation`` stands in, and ``why`` tells.
    """

    kind: str
    conversation: Conversation
    why: str = ""


def asked(exchange: Exchange) -> Asked:
    """The exchange's request as a conversation, or why there is none."""
    if not isinstance(exchange.request, Mapping) or not exchange.request:
        return Asked("silent", STAND_IN, "only the answer was recorded")
    try:
        found = translate(exchange.dialect, exchange.request, family=FAMILY, model=exchange.model)
    except ContractError as error:
        return Asked("invalid", STAND_IN, str(error))
    except Untranslatable as error:
        if "should be" in error.reason:
            return Asked("invalid", STAND_IN, str(error))
        return Asked("no job", STAND_IN, next((why for sign, why in NO_JOB.items() if re.search(sign, str(error))), ""))
    return Asked("own", found.conversation)


@dataclass
class Case:
    """One recording, answered in one way, by a pool of its own."""

    exchange: Exchange
    cut: str
    pool: str
    asked: Asked
    events: list[StreamEvent] = field(default_factory=list)
    result: Result | None = None
    error: JobFailed | None = None

    def __str__(self) -> str:
        return f"{self.exchange.id} ({self.cut})"

    @property
    def streamed(self) -> bool:
        """Whether tokens are asked for while they come; the endpoint's path decides for Gemini."""
        return self.exchange.streaming or self.exchange.endpoint == "streamGenerateContent"

    @property
    def limited(self) -> bool:
        """Whether it is expected to be turned away for a limit."""
        expected = self.exchange.expected.get("expected_error", {})
        return FailureKind.RATE_LIMIT.value in expected.get("accept", ())

    @cached_property
    def row(self) -> ProviderRow:
        """The provider's row with the recorded model as its only one, asking the replay server for the right cut."""
        wanted = target(self.exchange)
        known = wanted.provider.model_dump(exclude_unset=True)
        model = wanted.model.model_dump(exclude_unset=True)
        fault = {"x-replay-fault": CUTS[self.cut]} if CUTS[self.cut] else {}
        headers = {**wanted.provider.headers, **fault}
        return ProviderRow.model_validate({**known, "name": self.pool, "models": [model], "headers": headers})

    async def run(self, producer: Producer) -> None:
        """Submit it and wait for its end, whatever that is."""
        conversation = self.asked.conversation
        given = {
            name: getattr(conversation.settings, name) for name in SETTINGS & conversation.settings.model_fields_set
        }
        request: dict[str, Any] = {"model": self.pool, "messages": conversation.messages, "tools": conversation.tools}
        request |= given | ({"deadline": PATIENCE} if self.limited else {})
        try:
            if self.streamed:
                async for event in producer.stream(**request):
                    self.events.append(event)
                self.result = self.events[-1].result  # type: ignore[union-attr]  # `Finished` is the last
            else:
                self.result = (await producer.complete(**request)).result
        except JobFailed as error:
            self.error, self.result = error, error.result

    @property
    def record(self) -> Result:
        """The one end it came to."""
        assert self.result is not None, f"{self} has not ended"
        return self.result

    def told(self) -> dict[str, Any]:
        """What came of it, in the form that ``compare`` takes."""
        result = self.record
        if self.error is not None:
            failure = result.attempts[0].failure
            assert failure is not None, result
            category = CATEGORY_OF.get(failure.kind.value, failure.kind.value)
            return {"error": {"category": category, "retry_after_s": failure.retry_after}}
        assert result.answer is not None
        assert result.finish_reason is not None
        answer, usage = result.answer, result.usage
        return {
            "text": answer.text,
            "reasoning": answer.reasoning,
            "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls],
            "finish_norm": result.finish_reason.value,
            "refusal": answer.refusal,
            "usage": usage.model_dump(include=_KINDS) if usage.reported else None,
        }

    def apart(self) -> list[str]:
        """Where the events of a stream do not add up to its answer."""
        answer, found = self.record.answer, []
        assert answer is not None
        places = [(event.generation, event.sequence) for event in self.events[1:-1]]
        kinds = [event.type for event in self.events if event.type != "queued"]
        calls: dict[int, tuple[str, str]] = {}
        for event in self.events:
            if isinstance(event, ToolCall):
                name, arguments = calls.get(event.index, (event.name or "", ""))
                calls[event.index] = (name, arguments + event.arguments)
        if places != sorted(places):
            found.append("events out of order")
        if kinds[0] != "started" or kinds[-1] != "finished" or "switched" in kinds:
            found.append(f"events are {kinds[:2]} … {kinds[-2:]}")
        tokens = [event for event in self.events if isinstance(event, Token)]
        if "".join(one.text for one in tokens if not one.refusal) != answer.text:
            found.append("tokens are not the text")
        if "".join(one.text for one in tokens if one.refusal) != (answer.refusal or ""):
            found.append("tokens are not the refusal")
        if "".join(event.text for event in self.events if isinstance(event, ReasoningToken)) != answer.reasoning:
            found.append("tokens are not the reasoning")
        if [(name, arguments.strip() or "{}") for name, arguments in calls.values()] != [
            (call.name, call.arguments) for call in answer.tool_calls
        ]:
            found.append("pieces are not the tool calls")
        return found


_KINDS = {"input", "output", "cache_read", "cache_write", "reasoning"}


def cases(exchanges: list[Exchange]) -> list[Case]:
    """Every exchange once, a recorded stream once in every cut."""
    found = []
    for number, exchange in enumerate(exchanges):
        ways = ["as recorded"]
        if exchange.is_stream and exchange.status < 300:
            ways = list(CUTS) if exchange.format == "sse" else ["as recorded", "in sevens"]
        asks = asked(exchange)
        found += [Case(exchange, cut, f"{exchange.provider}-{number:03d}-{way}", asks) for way, cut in enumerate(ways)]
    return found


def configured(cases: list[Case], server: Replay) -> dict[str, Any]:
    """A provider and a route for each case, named alike. One attempt each: a failure is reported as it is."""
    return {
        "providers": {
            case.pool: {"key": KEY, "base_url": server.base_url(case.exchange.id), "slots": 2} for case in cases
        },
        "routes": {
            case.pool: {"deployments": [f"{case.pool}/{case.exchange.model}"], "max_attempts": 1} for case in cases
        },
    }
