"""Every scenario of the table through one running gateway, over the broker and over HTTP, scored by what came out.

Caught here: half an answer taken for a whole one, two answers joined, a client that waits for ever, an error of the
provider's own shape, a switch that is not made or made twice, signatures and instructions that reach the wrong model.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.results import Result
from producer_sdk import Producer
from simulator import FaultOrder, ProviderSettings, Settings, Simulator
from simulator.settings import AnswerLength, Pace
from tests.e2e.faults.scenarios.asking import RULED, SEA, TOOLS, WEATHER, Told, ask, continued, words
from tests.e2e.faults.scenarios.rows import ROWS, Dialect, Row
from tests.e2e.faults.scenarios.scoring import Said, judged
from tests.support.edge import RunningEdge, edge
from tests.support.gateway import Gateway, gateway
from tests.support.own_time import own_time

DIALECTS: tuple[Dialect, ...] = ("openai", "anthropic", "gemini")
PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
TIMES = {"connect": 5.0, "ttft": 1.0, "stall": 0.8, "total": 3.0}
AT_ONCE = 16
FEWEST = 40
"""Scenarios that there must be."""


def simulated() -> list[ProviderSettings]:
    """A provider for the first place of each row, one for its second if that is broken too, and one of each dialect."""
    pace, answer = Pace(tokens_per_second=300), AnswerLength(shortest=60, longest=60)
    names: dict[str, Dialect] = {f"well-{dialect}": dialect for dialect in DIALECTS}
    names |= {row.name: row.first for row in ROWS}
    names |= {second(row): row.second for row in ROWS if row.second is not None}
    return [ProviderSettings(name=name, dialect=spoken, pace=pace, answer=answer) for name, spoken in names.items()]


def second(row: Row) -> str:
    """The provider of a row's second place."""
    if "gone" in row.flags:
        return row.name
    return f"{row.name}-too" if "both" in row.flags else f"well-{row.second}"


def model(row: Row) -> str:
    """The model of a row's second place."""
    return "m1" if "same" in row.flags else "m2"


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Gateway, RunningEdge, Simulator]]:
    """One broker, one scheduler, a pool for each provider, one edge; the faults are laid."""
    made = simulated()
    async with Simulator(Settings(providers=tuple(made), longest_hold=10.0)) as simulator:
        for row in ROWS:
            for name in [row.name, *([second(row)] if "both" in row.flags else [])]:
                order: dict[str, Any] = {key: row.counts[key] for key in ("times", "after") if key in row.counts}
                models = "m1" if "gone" in row.flags else "*"
                await simulator.control.add_fault(FaultOrder(fault=row.fault, provider=name, models=models, **order))
        urls = {one.name: simulator.base_url(one.name) + PATHS[one.dialect] for one in made}
        gone = {row.name for row in ROWS if "gone" in row.flags}
        values = {
            "providers": {
                name: {"key": "sk-of-a-test", "slots": 64, **({} if name in gone else {"base_url": url})}
                for name, url in urls.items()
            },
            "routes": {row.name: route(row) for row in ROWS}
            | {f"{dialect}-{each}": alone(dialect, each) for dialect in DIALECTS for each in ("m1", "m2")},
            "workers": {"beat_every": 1.0, "drain": 1.0, "max_response": 2 * 1024 * 1024},
        }
        rows = {one.name: known(one, urls[one.name]) for one in made}
        async with gateway(directory, values, rows) as whole, edge(whole) as one_edge:
            yield whole, one_edge, simulator


def known(provider: ProviderSettings, url: str) -> ProviderRow:
    """What the catalogue knows of it: the second model has the larger window, and succeeds the first."""
    row = providers()[provider.dialect].model_dump(exclude_unset=True)
    models = [
        {"name": "m1", "context_window": 2_000, "deprecated": True, "successor": "m2"},
        {"name": "*", "context_window": 8_000},
    ]
    return ProviderRow.model_validate({**row, "name": provider.name, "base_url": url, "models": models})


def alone(dialect: Dialect, model: str) -> dict[str, Any]:
    return {"deployments": [f"well-{dialect}/{model}"], "timeouts": TIMES}


def route(row: Row) -> dict[str, Any]:
    places = [f"{row.name}/m1"]
    if row.second is not None and "gone" not in row.flags:
        places.append(f"{second(row)}/{model(row)}")
    made: dict[str, Any] = {"deployments": places, "timeouts": TIMES, "successors": "gone" in row.flags, **row.route}
    if row.form == "system":
        made["on_switch"] = [{"to": "*", "system": {"replace": RULED}}]
    return made


class Wholes:
    """What each place answers when nothing breaks, asked once for all rows that need it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._known: dict[tuple[str, ...], asyncio.Task[Said]] = {}
        self.thoughts: dict[Dialect, Any] = {}

    async def begin(self) -> None:
        """Have a model of each dialect think and call a tool."""
        for dialect in DIALECTS:
            asked: dict[str, Any] = {"messages": WEATHER, "tools": TOOLS, "reasoning_effort": "low"}
            answered = await self._producer.complete(model=f"{dialect}-m1", **asked)
            assert answered.result.answer is not None
            self.thoughts[dialect] = continued(answered.result.answer)

    async def of(self, row: Row) -> dict[int, Said]:
        """By place."""
        places = {1: (row.first, "m1")} | ({} if row.second is None else {2: (row.second, model(row))})
        return {place: await self._one(row, *at, place=place) for place, at in places.items()}

    async def _one(self, row: Row, dialect: Dialect, model: str, *, place: int) -> Said:
        asked = words(row.form, row.first, self.thoughts)
        if row.form == "system" and place == 2:
            asked = {"messages": [{"role": "system", "content": RULED}, *SEA]}
        key = (dialect, model, row.form, row.first, str(place) if row.form == "system" else "")
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._ask(f"{dialect}-{model}", asked))
        return await self._known[key]

    async def _ask(self, route: str, asked: dict[str, Any]) -> Said:
        answer = (await self._producer.complete(model=route, **asked)).result.answer
        assert answer is not None
        return answer.text, "".join(call.arguments for call in answer.tool_calls)


async def test_whatever_breaks_a_client_gets_a_whole_answer_or_an_error_and_soon(tmp_path: Path) -> None:
    async with running(tmp_path) as (whole, one, _), whole.producer(timeout=30) as producer:
        wholes = Wholes(producer)
        await wholes.begin()
        answers = {row.name: await wholes.of(row) for row in ROWS}
        told = await asked(one, producer, wholes)
        await whole.settled()
        records = await whole.results()
    results = {result.route: result for result in sorted(records.values(), key=lambda each: each.times.submitted)}
    report(told, results, answers)


async def asked(one: RunningEdge, producer: Producer, wholes: Wholes) -> dict[str, Told]:
    """All rows, a few at a time, each after the jobs that are to be answered before it."""
    places, told = asyncio.Semaphore(AT_ONCE), dict[str, Told]()

    async with own_time() as now:

        async def run(row: Row) -> None:
            async with places:
                for _ in range(row.counts.get("warm", 0)):
                    await producer.complete(model=row.name, messages=WEATHER)
                told[row.name] = await ask(row, producer, one.client, wholes.thoughts, now)

        await asyncio.gather(*map(run, ROWS))
    return told


def report(told: Mapping[str, Told], results: Mapping[str, Result], answers: Mapping[str, dict[int, Said]]) -> None:
    """Print the scores, and assert that each is what its row says."""
    scores: Counter[str] = Counter()
    wrong: list[str] = []
    for row in ROWS:
        score, differences = judged(row, told[row.name], results[row.name], answers[row.name])
        scores[score] += 1
        wrong += [f"{row}: {difference}" for difference in differences]
    longest = max(each.seconds for each in told.values())
    print(f"{len(ROWS)} scenarios: {dict(scores)}; the longest took {longest:.1f} s")
    assert not wrong, "\n".join(wrong)
    assert scores["failure"] == 0
    assert len(ROWS) >= FEWEST
    asked_for = {(row.first, row.form, row.streamed) for row in ROWS}
    assert {(dialect, form) for dialect, form, _ in asked_for} >= {
        (dialect, form) for dialect in DIALECTS for form in ("text", "tools", "json")
    }
