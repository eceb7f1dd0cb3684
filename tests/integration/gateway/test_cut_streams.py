"""A provider that dies at every point of its answer, seen from an HTTP client: a whole answer, or an error.

Never two answers joined, never an end that is missing, never a success that is cut, and all of it in bounded time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic_core import from_json

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts import subjects
from tests.support.edge import RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.own_time import own_time
from tests.support.upstream import Do, Step, Upstream, chunk, error, head, response, upstream

Way = Literal["reset", "close", "stall", "garbage", "http 500"]
Form = Literal["text", "tools", "json"]
WAYS: tuple[Way, ...] = ("reset", "close", "stall", "garbage", "http 500")
TIMES = {"connect": 1.0, "ttft": 2.0, "stall": 0.7, "total": 4.0}
LONGEST = 15.0
"""Seconds for one answer, in which it was let run: two attempts that use up their time, on a busy machine."""
AT_ONCE = 24
ASKED: dict[Form, dict[str, Any]] = {
    "text": {},
    "tools": {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
    "json": {"response_format": {"type": "json_object"}},
}


@dataclass(frozen=True)
class Said:
    """An answer as a provider gives it: text in pieces, or one call with its arguments in pieces."""

    pieces: tuple[str, ...]
    call: bool = False

    @property
    def whole(self) -> tuple[str, str]:
        """Text and arguments."""
        text = "".join(self.pieces)
        return ("", text) if self.call else (text, "")

    def events(self) -> list[str]:
        """The stream that says it, event by event."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if self.call else ""}]
        for at, piece in enumerate(self.pieces):
            if self.call:
                named = {"id": "call_1", "type": "function"} if not at else {}
                function = {"arguments": piece, **({"name": "look"} if not at else {})}
                deltas.append({"tool_calls": [{"index": 0, **named, "function": function}]})
            else:
                deltas.append({"content": piece})
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if self.call else "stop"})
        told: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        told.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}})
        frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return [*(f"data: {json.dumps(frame | one)}\n\n" for one in told), "data: [DONE]\n\n"]

    def body(self) -> bytes:
        """The answer in one."""
        text, arguments = self.whole
        call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": arguments}}
        message = {"role": "assistant", "content": text or None, **({"tool_calls": [call]} if self.call else {})}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if self.call else "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        frame = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        return json.dumps({**frame, "choices": [choice], "usage": usage}).encode()


FIRST: dict[Form, Said] = {
    "text": Said(("The sea ", "is wide, ", "and so is ", "the sky.")),
    "tools": Said(('{"wh', 'at": "s', 'ea"}'), call=True),
    "json": Said(('{"sea"', ": ", '"wide"}')),
}
OTHER: dict[Form, Said] = {
    "text": Said(("The sea ", "is deep.")),
    "tools": Said(('{"what": "sky"}',), call=True),
    "json": Said(('{"sea": "deep"}',)),
}


@dataclass
class Case:
    """One request, and what became of it."""

    form: Form
    way: Way
    cut: int
    """Events (or tenths of a body) before it breaks."""
    within: bool
    """Whether it breaks in the middle of one."""
    policy: str
    same: bool
    """Whether the second deployment says the same as the first."""
    streamed: bool
    name: str = ""
    status: int = 0
    text: str = ""
    arguments: str = ""
    reasons: list[str] = field(default_factory=list)
    done: bool = False
    broken: dict[str, Any] | None = None
    """The error that was told."""
    seconds: float = 0.0

    @property
    def second(self) -> Said:
        """What the second deployment says: the same in other pieces, or something else."""
        if not self.same:
            return OTHER[self.form]
        return Said(("".join(FIRST[self.form].pieces),), call=FIRST[self.form].call)

    def script(self) -> list[Step]:
        """What the first deployment does."""
        if self.way == "http 500":
            return [error(500, "server_error", "no")]
        garbage = chunk('data: {"choices": [{"ind\n\n') if self.streamed else b"}{"
        ends: dict[str, list[Step]] = {"reset": [Do.RESET], "close": [Do.CLOSE], "stall": [Do.HANG]}
        end = ends.get(self.way, [garbage, Do.CLOSE])
        if not self.streamed:
            whole = response(FIRST[self.form].body())
            at = whole.index(b"\r\n\r\n") + 4 + len(FIRST[self.form].body()) * self.cut // 10
            return [whole[:at], *end]
        events = FIRST[self.form].events()
        told = [chunk(one) for one in events[: self.cut]]
        if self.within and self.cut < len(events):
            told.append(chunk(events[self.cut][: len(events[self.cut]) // 2]))
        return [head(), *told, *end]


def cases() -> list[Case]:
    """Every cut of a text by a reset and an end without its mark; the others at some points."""
    found: list[Case] = []
    for policy, same in itertools.product(("continue", "hold", "error"), (True, False)):
        for form, said in FIRST.items():
            last = len(said.events())
            for way, cut, within in _cuts(form, last):
                found.append(Case(form, way, cut, within, policy, same, streamed=True))
    for form, way, same in itertools.product(FIRST, WAYS, (True, False)):
        cuts = (0,) if way == "http 500" else (0, 5, 9)
        found += [Case(form, way, cut, False, "continue", same, streamed=False) for cut in cuts]
    for number, one in enumerate(found):
        one.name = f"c{number}"
    return found


def _cuts(form: Form, last: int) -> Iterator[tuple[Way, int, bool]]:
    yield "http 500", 0, False
    for cut in range(last):
        yield "reset", cut, False
        if form == "text":
            yield "close", cut, False
            yield "close", cut, True
        elif cut in {1, 3, last - 2}:
            yield "close", cut, cut == 3
    for cut in (0, 2, last - 3):
        yield "stall", cut, False
        yield "garbage", cut, False


def row(name: str) -> ProviderRow:
    """A provider of its own that speaks as OpenAI does and has any model."""
    known = providers()["openai"].model_dump(exclude_unset=True)
    return ProviderRow.model_validate({**known, "name": name, "models": [{"name": "*"}]})


def values(tried: Sequence[Case], first: str, second: str) -> dict[str, Any]:
    pools = {_pool(way): first for way in WAYS} | {"second": second}
    return {
        "providers": {name: {"key": "sk", "base_url": f"{url}/v1", "slots": 64} for name, url in pools.items()},
        "routes": {
            one.name: {
                "deployments": [f"{_pool(one.way)}/{one.name}", f"second/{one.name}"],
                "timeouts": TIMES,
                "broken_stream": one.policy,
            }
            for one in tried
        },
    }


def _pool(way: Way) -> str:
    return way.replace(" ", "")


async def test_a_client_never_reads_a_splice_nor_takes_half_an_answer_for_one(tmp_path: Path) -> None:
    tried = cases()
    async with upstream() as first, upstream() as second:
        for one in tried:
            first.of_model[one.name] = one.script()
            said = one.second
            second.of_model[one.name] = (
                [head(), *map(chunk, said.events()), chunk("")] if one.streamed else [response(said.body())]
            )
        rows = {name: row(name) for name in (*map(_pool, WAYS), "second")}
        async with gateway(tmp_path, values(tried, first.url, second.url), rows) as whole, edge(whole) as one_edge:
            async with own_time(lambda: whole.bus.stream_state(subjects.stream_name(subjects.SUBMIT))) as now:
                await asked_all(one_edge, tried, now)
            wrong = [f"{case}: {word}" for case in tried for word in differences(case)]
            assert not wrong, f"{len(wrong)} of {len(tried)}:\n" + "\n".join(wrong[:20])
            seen = {request.json["model"] for request in first.asked}
            assert len(seen) > 0.9 * len(tried), "most were not broken at all"
            assert_each_end_was_met(tried, second)


def assert_each_end_was_met(tried: Sequence[Case], second: Upstream) -> None:
    streamed = [one for one in tried if one.streamed]
    assert any(one.broken is not None and one.text for one in streamed), "no stream broke after its first token"
    assert any(one.done and one.same and one.policy == "continue" for one in streamed)
    assert second.asked


async def asked_all(one_edge: RunningEdge, tried: Sequence[Case], now: Callable[[], float]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(which: Case) -> None:
        async with places:
            start = now()
            await asked(one_edge.client, which)
            which.seconds = now() - start

    await asyncio.gather(*map(one, tried))


async def asked(client: httpx.AsyncClient, case: Case) -> None:
    messages = [{"role": "user", "content": "Tell me of the sea, as JSON."}]
    body = {"model": case.name, "messages": messages, "stream": case.streamed, **ASKED[case.form]}
    if not case.streamed:
        answered = await client.post("/v1/chat/completions", json=body)
        case.status = answered.status_code
        told = answered.json()
        if case.status == 200:
            case.done = True
            _read(case, told["choices"][0], told["choices"][0]["message"])
        else:
            case.broken = told["error"]
        return
    async with client.stream("POST", "/v1/chat/completions", json=body) as answered:
        case.status = answered.status_code
        if case.status != 200:
            case.broken = from_json(await answered.aread())["error"]
            return
        async for line in answered.aiter_lines():
            if not line.startswith("data: "):
                continue
            assert not case.done, "something after the end"
            assert case.broken is None, "something after the error"
            if line == "data: [DONE]":
                case.done = True
                continue
            told = json.loads(line.removeprefix("data: "))
            if "error" in told:
                case.broken = told["error"]
                continue
            for choice in told["choices"]:
                _read(case, choice, choice["delta"])


def _read(case: Case, choice: dict[str, Any], said: dict[str, Any]) -> None:
    case.text += said.get("content") or ""
    case.arguments += "".join(call["function"]["arguments"] for call in said.get("tool_calls", ()))
    if choice["finish_reason"] is not None:
        case.reasons.append(choice["finish_reason"])


def differences(case: Case) -> list[str]:
    """What a client must not see."""
    found = []
    read, both = (case.text, case.arguments), (FIRST[case.form].whole, case.second.whole)
    if case.seconds > LONGEST:
        found.append("it took too long")
    if case.done == (case.broken is not None):
        found.append("neither a whole answer nor an error, or both")
    if not any(answer[0].startswith(read[0]) and answer[1].startswith(read[1]) for answer in both):
        found.append("a splice")
    if case.done and (read not in both or len(case.reasons) != 1):
        found.append("a success that is cut")
    if case.broken is not None and case.reasons:
        found.append("an error after the end")
    if case.broken is not None and not (case.broken["message"] and case.broken["code"]):
        found.append("an error that says nothing")
    return found + _promised(case)


def _promised(case: Case) -> list[str]:
    """What a route's policy promises beyond that."""
    must = (
        not case.streamed
        or case.policy == "hold"
        or case.cut <= 1
        or (case.policy == "continue" and case.same and case.form != "tools")
    )
    if must and not case.done:
        return [f"{case.policy} promises a whole answer"]
    if case.streamed and case.policy == "error" and case.broken is not None and case.broken["code"] != "stream_broken":
        return [f"the error is called {case.broken['code']}"]
    return []
