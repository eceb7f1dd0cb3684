"""Hedged streams through the whole gateway: providers that are slow to begin, real workers, producers that read.

Caught here: a reader who sees tokens of two attempts, an answer that is not what was streamed, an attempt of the two
whose cost nobody tells.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.results import Result
from job_contracts.stream import StreamEvent, Switched, Token
from producer_sdk import Producer
from simulator import ProviderSettings, Settings, Simulator
from tests.support.gateway import Gateway, gateway

MESSAGES = [{"role": "user", "content": "Tell me of the sea."}]
AFTER = 0.3
NAMES = ("first", "second")
JOBS = 12


def values(simulator: Simulator, first: str, second: str) -> dict[str, Any]:
    hedge = {"share": 0.5, "after": AFTER}
    return {
        "providers": {name: {"key": "sk-of-a-test", "base_url": f"{simulator.base_url(name)}/v1"} for name in NAMES},
        "routes": {"fast": {"deployments": [f"first/{first}", f"second/{second}"], "hedge": hedge}},
    }


def rows() -> dict[str, ProviderRow]:
    known = providers()["openai"].model_dump(exclude_unset=True)
    return {name: ProviderRow.model_validate({**known, "name": name, "models": [{"name": "*"}]}) for name in NAMES}


async def read(producer: Producer) -> tuple[list[StreamEvent], Result]:
    async with producer.stream(model="fast", messages=MESSAGES) as stream:
        events = [event async for event in stream]
        return events, stream.result.result


async def run(whole: Gateway, count: int) -> list[tuple[list[StreamEvent], Result]]:
    async with whole.producer(timeout=30) as producer:
        # Something must have been spent that second attempts may have a share of.
        found = [await read(producer)]
        found += await asyncio.gather(*(read(producer) for _ in range(count)))
        await whole.settled()
        for events, result in found[1:]:  # who joins late reads the same
            again = [event async for event in producer.attach(result.job).stream()]
            assert tokens_of(again) == tokens_of(events)
    return found


def tokens_of(events: list[StreamEvent]) -> list[tuple[int, str]]:
    return [(generation, "".join(each)) for generation, each in said(events).items()]


def said(events: list[StreamEvent]) -> dict[int, list[str]]:
    texts: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, Token):
            texts.setdefault(event.generation, []).append(event.text)
    return texts


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("m+ttft=20+tokens=60", "n+tokens=60"),
        ("m+ttft=0.5+tokens=60+tps=200", "n+ttft=0.2+tokens=60+tps=200"),
        ("m+ttft=0.4+tokens=60+tps=200", "n+ttft=20+tokens=60"),
    ],
    ids=["the hedge wins", "a close race", "the first one wins"],
)
async def test_a_reader_sees_one_answer_and_both_attempts_are_paid_for(first: str, second: str, tmp_path: Path) -> None:
    made = tuple(ProviderSettings(name=name, dialect="openai") for name in NAMES)
    async with Simulator(Settings(providers=made, longest_hold=60.0)) as simulator:
        told = values(simulator, first, second)
        if "ttft=20" in first:  # the first job of all could not be hedged
            told["routes"]["fast"]["timeouts"] = {"ttft": 1.5}
        async with gateway(tmp_path, told, rows()) as whole:
            found = await run(whole, JOBS)
            facts = list((await whole.facts(JOBS + 1)).values())
    for events, result in found[1:]:
        tokens = [event for event in events if isinstance(event, Token)]
        assert result.answer is not None
        assert "".join(token.text for token in tokens) == result.answer.text
        assert {token.generation for token in tokens} == {result.attempts[-1].number}
        assert not any(isinstance(event, Switched) for event in events[events.index(tokens[0]) :])
        assert not any(token.from_record for token in tokens), "it was streamed as it came"
    hedged = [fact for fact in facts if fact.reason == "hedged"]
    assert hedged, "there was no hedge"
    assert all(not fact.won for fact in hedged)
    assert sum(fact.won for fact in facts) == JOBS + 1
