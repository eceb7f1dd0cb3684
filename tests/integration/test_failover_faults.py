"""Everything that breaks at the first deployment, through the whole gateway: a whole answer of the second, or an error.

Each fault strikes a deployment (and pool) of its own, so that what it says of the place cannot help or hurt another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.chat import FinishReason
from job_contracts.failures import Action, FailureKind
from job_contracts.results import Result
from job_contracts.stream import Finished, ReasoningToken, Started, StreamEvent, Switched, Token
from producer_sdk import JobFailed, Producer
from simulator import FaultOrder, ProviderSettings, Settings, Simulator
from simulator.settings import DialectName
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.own_time import own_time

K = FailureKind
Kinds = set[FailureKind | None]
FIRST, CLOSED, SECOND = "first", "closed", "second"
"""Simulated providers: one that is broken, one that refuses connections, one that is well."""
NEXT: Mapping[DialectName, DialectName] = {"openai": "anthropic", "anthropic": "gemini", "gemini": "openai"}
"""The dialect of the second provider, by that of the first."""
PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
MESSAGES = [{"role": "user", "content": "Tell me of the sea, and of those who sail on it."}]
WELL = f"{SECOND}/m+tokens=40"
# No fault here is told by the time a connection takes (a refused one is so at once): that is the product's own.
TIMES = {"connect": 10.0, "ttft": 20.0, "stall": 20.0, "total": 20.0}
"""Long, for who is not let run for a second has not met another fault."""
TIMED: Mapping[str, Mapping[str, float]] = {
    "hang": {"ttft": 1.5, "total": 3.0},
    "slow": {"ttft": 1.5, "total": 3.0},
    "stall": {"stall": 1.0},
}
"""Faults that only a clock tells, and which one."""
LONGEST = 8.0
"""Seconds a job may take: two attempts that use up all their time, and what lies between them; pauses left out."""
AT_ONCE = 16
MIB = 1024 * 1024

TIMEOUT: Kinds = {K.FIRST_TOKEN_TIMEOUT, K.TOTAL_TIMEOUT}
HALF: Kinds = {K.STREAM_TRUNCATED, K.MALFORMED_RESPONSE}
FAULTS: Mapping[str, Kinds] = {
    "429": {K.RATE_LIMIT},
    "500": {K.SERVER_ERROR},
    "503": {K.OVERLOADED},
    "529": {K.OVERLOADED},
    "auth": {K.AUTH},
    "permission": {K.PERMISSION},
    "quota": {K.QUOTA_EXHAUSTED},
    "model_gone": {K.MODEL_NOT_FOUND},
    "context": {K.CONTEXT_OVERFLOW},
    "prompt_blocked": {K.CONTENT_POLICY},
    "bad_request": {K.BAD_REQUEST},
    "refused": {K.CONNECT},
    "reset": {K.RESET},
    "hang": TIMEOUT,
    "slow": TIMEOUT,
    "stall": {K.STALLED},
    "cut": {K.STREAM_TRUNCATED},
    "reset_within": {K.RESET},
    "error_within": {K.OVERLOADED},
    "malformed_chunk": HALF,
    "malformed_json": HALF,
    "bad_framing": {K.MALFORMED_RESPONSE},
    "no_terminator": HALF,
    "empty_body": {K.MALFORMED_RESPONSE},
    "html": {K.SERVER_ERROR},
    "html@200": {K.MALFORMED_RESPONSE},
    "gigantic_line@3": {K.RESPONSE_TOO_LARGE},
    "wrong_content_type": {None},  # what the body says counts, and it says everything
    "content_filter": {None},  # the provider's own end of an answer, told as its finish reason
    "no_done": {None, K.STREAM_TRUNCATED},  # whether an answer can end without its last event is the dialect's matter
}
"""What the simulator can do wrong, and what the attempt that meets it may be called; ``None`` for an answer."""


@dataclass
class Try:
    """One job, and what its producer saw of it."""

    route: str
    streamed: bool
    fault: str = ""
    events: list[StreamEvent] = field(default_factory=list)
    error: JobFailed | None = None
    seconds: float = 0.0
    _result: Result | None = None

    @property
    def result(self) -> Result:
        assert self._result is not None, f"{self.route} has not ended"
        return self._result

    @property
    def text(self) -> str:
        return self.result.answer.text if self.result.answer is not None else ""

    @property
    def kinds(self) -> list[FailureKind | None]:
        """How its attempts ended, in order."""
        return [attempt.failure.kind if attempt.failure else None for attempt in self.result.attempts]

    async def run(self, producer: Producer) -> None:
        try:
            if self.streamed:
                async with producer.stream(model=self.route, messages=MESSAGES) as stream:
                    async for event in stream:
                        self.events.append(event)
                    self._result = stream.result.result
            else:
                self._result = (await producer.complete(model=self.route, messages=MESSAGES)).result
        except JobFailed as error:
            self.error, self._result = error, error.result


def tries() -> list[Try]:
    """Every fault, met by a stream and by a plain answer."""
    ways = {"streamed": True, "plain": False}
    return [Try(f"{fault.replace('@', '_')}-{way}", ways[way], fault) for fault in FAULTS for way in ways]


@asynccontextmanager
async def simulated(dialect: DialectName) -> AsyncIterator[Simulator]:
    names = {FIRST: dialect, CLOSED: dialect, SECOND: NEXT[dialect]}
    made = tuple(ProviderSettings(name=name, dialect=spoken) for name, spoken in names.items())
    async with Simulator(Settings(providers=made, longest_hold=10.0)) as one:
        await one.control.add_fault(FaultOrder(fault="refused", provider=CLOSED))
        yield one


@asynccontextmanager
async def through(
    simulator: Simulator, directory: Path, pools: Mapping[str, str], routes: Mapping[str, Any]
) -> AsyncIterator[Gateway]:
    """A gateway of these ``pools``, each with the simulated provider it calls; the windows of ``SECOND`` are larger."""
    spoken = {one.name: one.dialect for one in simulator.control.providers()}
    urls = {pool: simulator.base_url(name) + PATHS[spoken[name]] for pool, name in pools.items()}
    values = {
        "providers": {pool: {"key": "sk-of-a-test", "base_url": url, "slots": 64} for pool, url in urls.items()},
        "routes": {name: {"timeouts": TIMES, **route} for name, route in routes.items()},
        "workers": {"beat_every": 1.0, "drain": 1.0, "max_response": 2 * MIB},
    }
    windows = {pool: 2_000 if name == SECOND else 1_000 for pool, name in pools.items()}
    rows = {pool: row(pool, spoken[name], windows[pool]) for pool, name in pools.items()}
    async with gateway(directory, values, rows) as whole:
        yield whole


def row(name: str, dialect: str, window: int) -> ProviderRow:
    known = providers()[dialect].model_dump(exclude_unset=True)
    return ProviderRow.model_validate({**known, "name": name, "models": [{"name": "*", "context_window": window}]})


async def run(tried: Iterable[Try], producer: Producer) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async with own_time() as now:

        async def one(which: Try) -> None:
            async with places:
                began = now()
                await which.run(producer)
                which.seconds = now() - began

        await asyncio.gather(*map(one, tried))


@pytest.mark.parametrize("dialect", NEXT)
async def test_whatever_breaks_first_the_answer_is_whole_or_the_error_says_why(
    dialect: DialectName, tmp_path: Path
) -> None:
    tried, alone = tries(), Try("alone", streamed=False)
    routes: dict[str, Any] = {
        one.route: {
            "deployments": [f"{one.route}/{one.route}+tokens=60", WELL],
            "timeouts": {**TIMES, **TIMED.get(one.fault, {})},
        }
        for one in tried
    }
    routes |= {alone.route: {"deployments": [WELL]}}
    pools = {one.route: CLOSED if one.fault == "refused" else FIRST for one in tried} | {SECOND: SECOND}
    async with simulated(dialect) as simulator:
        for one in tried:
            if pools[one.route] == FIRST:
                await simulator.control.add_fault(FaultOrder(fault=one.fault, provider=FIRST, models=one.route))
        async with through(simulator, tmp_path, pools, routes) as whole, whole.producer(timeout=30) as producer:
            await run([alone], producer)
            await run(tried, producer)
            wrong = [f"{one.route}: {word}" for one in tried for word in differences(one, alone.text)]
            wrong += await wrong_in_the_books(whole, simulator, [alone, *tried])
    assert not wrong, "\n".join(wrong)
    assert any(tokens_before_a_switch(one) for one in tried), "no stream was broken after its first token"


def differences(one: Try, second: str) -> list[str]:
    """What is not as ``PERMITS`` promises; ``second`` is what the second deployment answers."""
    found, first = [], one.kinds[0]
    if first not in FAULTS[one.fault]:
        found.append(f"the attempt is called {first}")
    places = [attempt.deployment.partition("/")[0] for attempt in one.result.attempts]
    failure = one.result.attempts[0].failure
    if failure is None:
        expected = FinishReason.CONTENT_FILTER if one.fault == "content_filter" else FinishReason.STOP
        if places != [one.route] or one.result.finish_reason is not expected or not one.text:
            found.append(f"not simply the first deployment's answer: {places} {one.result.finish_reason} {one.text!r}")
    elif failure.permits.action is Action.REPORT:
        if places != [one.route] or one.error is None or one.error.kind is not first:
            found.append(f"not simply an error: {places} {one.error!r}")
    elif places != [one.route, SECOND] or one.error is not None or one.text != second:
        found.append(f"not the answer of the second deployment: {places} {one.error!r} {one.text!r}")
    slow = [f"took {one.seconds:.1f} s"] if one.seconds > LONGEST else []
    return found + slow + (spliced(one) if one.streamed else [])


def spliced(one: Try) -> list[str]:
    """How the stream is not one answer after the last ``Switched``, each attempt's events apart from the others'."""
    found = []
    generations = [generation for generation, _ in groupby(event.generation for event in one.events[1:])]
    if generations != sorted(set(generations)):
        found.append(f"attempts are mixed: {generations}")
    for before, event in zip(one.events, one.events[1:], strict=False):
        if event.generation > max(before.generation, 1) and not isinstance(event, Switched | Finished):
            found.append(f"attempt {event.generation} begins with {event.type}")
    if one.error is not None:
        return found
    switches = [at for at, event in enumerate(one.events) if isinstance(event, Switched)]
    last = one.events[switches[-1] :] if switches else one.events
    further = len(one.result.attempts) - 1
    if len(switches) > further or bool(switches) != bool(further):  # an attempt that told nothing needs none
        found.append(f"{len(switches)} switches for {further} further attempts")
    if "".join(event.text for event in last if isinstance(event, Token)) != one.text:
        found.append("the tokens are not the answer")
    started = [event for event in last if isinstance(event, Started)]
    if [event.deployment for event in started] != [one.result.deployment] or not isinstance(last[-1], Finished):
        found.append(f"events are {[event.type for event in last]}")
    return found


def tokens_before_a_switch(one: Try) -> bool:
    switches = [at for at, event in enumerate(one.events) if isinstance(event, Switched)]
    return any(isinstance(event, Token | ReasoningToken) for event in one.events[: switches[0]]) if switches else False


async def wrong_in_the_books(whole: Gateway, simulator: Simulator, tried: list[Try]) -> list[str]:
    """The providers' meter, the jobs' records and the ledger's facts tell the same calls; nothing is left of a job."""
    await whole.settled()
    records = await whole.results()
    attempts = [attempt for one in tried for attempt in one.result.attempts]
    facts = await whole.facts(len(attempts))
    found = [f"{one.route} has another record" for one in tried if records.get(one.result.job) != one.result]
    if len(facts) != len(attempts) or len(records) != len(tried):
        found.append(f"{len(tried)} jobs, {len(records)} records, {len(attempts)} attempts, {len(facts)} facts")
    made: Counter[tuple[str, str]] = Counter()
    for attempt in attempts:
        if attempt.failure is None or attempt.failure.kind is not K.CONNECT:
            place = SECOND if attempt.provider == SECOND else FIRST
            made[place, attempt.model.partition("+")[0]] += 1
    requests = made.total()
    await eventually(
        lambda: simulator.control.meter().total.requests >= requests, says="calls are metered at their end"
    )
    meter = simulator.control.meter()
    metered = Counter({(row.provider, row.model): row.requests for row in meter.rows})
    if metered != made:
        found.append(f"the meter and the attempts differ: {metered - made} and {made - metered}")
    billed = [row for row in meter.rows if row.provider == SECOND]
    answered = [one.result.usage for one in tried if one.result.provider == SECOND]
    totals = (sum(usage.input for usage in answered), sum(usage.output for usage in answered))
    inputs = sum(row.input_tokens + row.cached_read_tokens + row.cache_write_tokens for row in billed)
    if (inputs, sum(row.output_tokens + row.reasoning_tokens for row in billed)) != totals:
        found.append(f"the answers of the second deployment took {totals}, billed are {billed}")
    return found


NOWHERE: Mapping[str, tuple[str, int, list[FailureKind | None], FailureKind | None]] = {
    "503 everywhere": ("503", 9, [K.OVERLOADED] * 3, K.RETRIES_EXHAUSTED),
    "cut everywhere": ("cut", 9, [K.STREAM_TRUNCATED] * 3, K.RETRIES_EXHAUSTED),
    "reset everywhere": ("reset", 9, [K.RESET] * 3, K.RETRIES_EXHAUSTED),
    "cut everywhere once": ("cut", 1, [K.STREAM_TRUNCATED, K.STREAM_TRUNCATED, None], None),
    "429 everywhere once": ("429@0.3", 1, [K.RATE_LIMIT, K.RATE_LIMIT, None], None),
    "too long everywhere": ("context", 9, [K.CONTEXT_OVERFLOW, K.CONTEXT_OVERFLOW], K.CONTEXT_OVERFLOW),
}
"""Faults of both deployments: which, how often each strikes, how the attempts end, and how the job does."""


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "plain"])
async def test_where_every_deployment_is_broken_a_job_waits_or_ends_with_an_error_and_never_with_half_an_answer(
    streamed: bool, tmp_path: Path
) -> None:
    tried = {name: Try(f"r{number}", streamed) for number, name in enumerate(NOWHERE)}
    pools = {f"{one.route}-{place}": place for one in tried.values() for place in (FIRST, SECOND)}
    routes = {
        one.route: {"deployments": [f"{one.route}-{place}/{one.route}" for place in (FIRST, SECOND)], "max_attempts": 3}
        for one in tried.values()
    }
    async with simulated("openai") as simulator:
        for name, one in tried.items():
            fault, times, *_ = NOWHERE[name]
            for place in (FIRST, SECOND):
                order = FaultOrder(fault=fault, provider=place, models=one.route, times=times)
                await simulator.control.add_fault(order)
        async with through(simulator, tmp_path, pools, routes) as whole, whole.producer(timeout=30) as producer:
            await run(tried.values(), producer)
            await whole.settled()
            facts = await whole.facts(sum(len(one.kinds) for one in tried.values()))
    ends = {name: (one.kinds, one.error and one.error.kind) for name, one in tried.items()}
    assert ends == {name: (kinds, end) for name, (_, _, kinds, end) in NOWHERE.items()}
    assert simulator.control.meter().total.requests == len(facts)
    for name, one in tried.items():
        assert one.seconds < LONGEST, name
        assert not streamed or not spliced(one), name
        assert (one.error is None) == bool(one.text), name
