"""What we say an attempt cost is what its provider billed, however it ended: a worker and a simulated provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial

import pytest

from catalogue.load import providers
from catalogue.prices import Price
from catalogue.rows import ModelRow
from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from simulator import Settings, Simulator
from tests.support import builders
from tests.support.agreement import Agreement, agreement, settled
from tests.support.eventually import eventually
from tests.support.own_time import own_time
from tests.support.worker import Bench, bench

PLACES = {
    "openai_chat": ("openai", "gpt-4o-mini", "/v1"),
    "openai_responses": ("openai", "gpt-4o-mini", "/v1"),
    "anthropic": ("anthropic", "claude-haiku-4-5", "/v1"),
    "gemini": ("gemini", "gemini-2.5-flash", "/v1beta"),
}
every_dialect = pytest.mark.parametrize("dialect", PLACES)
# The simulator's own prices (simulator.settings.Price).
PRICE = Price(input=Decimal(1), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"), output=Decimal(4))
PACE = 200
"""Tokens a second of what a client leaves."""
LONG = "The lake lies still between the hills, and no wind comes down to it. " * 90

ANSWERED = ("", "+tokens=300", "+think=40+tokens=20", "+fault=wrong_content_type", "+fault=no_done")
FAILED = ("+fault=503", "+fault=rate_limit", "+fault=400", "+fault=auth")
"""Refused: nothing is billed, and that is known."""
BROKEN = ("+fault=cut@0.5+tokens=200", "+fault=reset_within@0.3", "+fault=error_within", "+fault=malformed_chunk",
          "+fault=no_terminator", "+fault=reset", "+fault=empty_body")  # fmt: skip
"""Broken: the end of the answer is not seen, and with it not always what was used."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Settings(longest_hold=5.0)) as one:
        yield one


class Run:
    """One worker before one simulated provider."""

    def __init__(self, worker: Bench, simulator: Simulator, dialect: str) -> None:
        self.worker, self.simulator = worker, simulator
        self.model = PLACES[dialect][1]
        self.given: list[Assignment] = []

    async def hand(self, suffix: str, *, stream: bool, text: str = "Tell me of the sea.") -> Assignment:
        content = [{"type": "text", "text": text, "cache": "5m"}]
        job = builders.job(
            f"stem-{len(self.given)}",
            conversation=builders.conversation(messages=[{"role": "user", "content": content}]),
        )
        model = f"{self.model}{suffix}"
        given = self.worker.assignment(
            job=job, deployment=f"alpha/{model}", provider="alpha", model=model, stream=stream, key="k-1"
        )
        self.given.append(await self.worker.hand(given))
        return given

    def come(self, given: Assignment) -> bool:
        """Whether some of its answer has come."""
        return len(self.worker.chunks(given)) > 3

    def facts(self) -> list[AttemptFact]:
        stored = self.worker.messages(subjects.LEDGER)
        return [fact for one in stored for fact in decode(Facts, one.data).facts]

    async def end(self) -> Agreement:
        """Once every attempt is answered for, and the provider knows of each call how it ended."""
        await asyncio.gather(*map(self.worker.settled, self.given))
        called = {fact.attempt for fact in self.facts()}
        await eventually(lambda: called <= {line.request_id for line in self.simulator.control.bills().lines})
        assert self.simulator.control.bills().forgotten == 0
        return agreement(self.facts(), self.simulator.control.bills().lines)


@pytest.fixture
async def run(simulator: Simulator, dialect: str) -> AsyncIterator[Run]:
    provider, _, version = PLACES[dialect]
    url = f"{simulator.base_url(provider)}{version}"
    priced = ModelRow(name="*", prices=(PRICE,))
    row = providers()[provider].changed(changes=(priced,))
    async with bench(url, catalogue={"alpha": row}, dialect=dialect, slots=32) as worker:
        yield Run(worker, simulator, dialect)


@every_dialect
async def test_answers_agree_to_the_token_and_the_picodollar(run: Run) -> None:
    for stream in (False, True):
        for suffix in ANSWERED:
            for _ in range(3):
                given = await run.hand(suffix, stream=stream, text=LONG)
                await run.worker.settled(given)
    found = await run.end()
    assert not found.wrong, found.wrong
    assert not [guess for guess in found.guesses if guess.fact.failure is None]
    assert any(one.cache_read for one in found.billed.values()), "prompts were read from the cache"
    statement = run.simulator.control.bills().lines
    assert agreement(settled(run.facts(), statement), statement).exact
    assert all(result.cost == result.attempts[-1].cost for result in run.worker.results().values())


@every_dialect
async def test_refused_calls_cost_nothing_and_broken_ones_what_a_statement_says(run: Run) -> None:
    for suffix in (*FAILED, *BROKEN):
        for stream in (False, True):
            await run.hand(suffix, stream=stream)
    found = await run.end()
    assert not found.wrong, found.wrong
    assert len(run.facts()) == len(run.given), "one fact an attempt"
    refused = [fact for fact in run.facts() if fact.model.partition("+")[2] in {one[1:] for one in FAILED}]
    assert {(fact.cost, fact.usage.reported) for fact in refused} == {(Decimal(0), True)}
    assert all(guess.told.cost is not None for guess in found.guesses)
    statement = run.simulator.control.bills().lines
    assert agreement(settled(run.facts(), statement), statement).exact


@every_dialect
async def test_what_a_client_left_is_estimated_near_what_was_billed_and_exact_by_statement(run: Run) -> None:
    loop = asyncio.get_running_loop()
    async with own_time() as now:
        began = loop.time() - now()
        streamed = [await run.hand(f"+tps={PACE}+tokens=4000", stream=True, text=LONG) for _ in range(3)]
        plain = await run.hand(f"+tps={PACE}+tokens=4000", stream=False)
        for given in streamed:
            await eventually(partial(run.come, given))
        await run.worker.abort(plain.attempt_id, *(given.attempt_id for given in streamed))
        found = await run.end()
        stood = loop.time() - now() - began
    assert not found.wrong, found.wrong
    assert {guess.fact.failure for guess in found.guesses} == {FailureKind.CANCELLED}
    assert len(found.guesses) == 4
    for guess in found.guesses:
        assert guess.fact.key == "k-1"
        if guess.fact.attempt != plain.attempt_id:
            # Of a stream that was left, what came is known to the character: some tokens were still on their way. What
            # became due while nobody was let run is sent at once, and may all be.
            on_its_way = max(25, guess.billed.output // 2) + stood * PACE
            assert abs(guess.told.output - guess.billed.output) <= on_its_way, guess
    statement = run.simulator.control.bills().lines
    assert agreement(settled(run.facts(), statement), statement).exact
