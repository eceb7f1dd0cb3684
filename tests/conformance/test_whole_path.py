"""Recorded traffic through everything: producer, broker, scheduler, worker, HTTP, and back as one result.

Every recording is tried. One whose own request is no job (``whole_path.NO_JOB`` says what such a request asks for, the
printed counts say how often) is answered all the same, to a plain question: what is read of the answer still counts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from job_contracts.failures import Action, FailureKind
from producer_sdk import InvalidRequest, JobExpired, JobFailed, Producer
from producer_sdk.options import SETTINGS
from tests.conformance.essence import essence
from tests.conformance.recordings import OURS, Exchange, compare, exchanges, needs_recordings
from tests.conformance.replay import replay
from tests.conformance.test_dialects_recordings import MISLABELLED
from tests.conformance.whole_path import CUTS, KEY, Case, asked, cases, configured
from tests.support.gateway import Gateway, gateway

pytestmark = needs_recordings

AT_ONCE = 32
"""Jobs under way."""
BEARERS = ("authorization", "x-api-key", "x-goog-api-key")
"""Headers in which a key may travel."""


def recorded(provider: str) -> list[Exchange]:
    """Those of the provider's endpoints that its row speaks: at others the key goes otherwise."""
    return [exchange for exchange in exchanges() if exchange.provider == provider and exchange.target.provider.auth]


@pytest.mark.timeout(300)  # hundreds of jobs, which take a minute where nothing else runs
@pytest.mark.parametrize("provider", OURS)
async def test_recorded_requests_come_back_as_the_results_the_vendors_read(
    provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, tried = time.monotonic(), cases(recorded(provider))
    assert tried, "no recordings were found"
    rows = {case.pool: case.row for case in tried}
    async with replay() as server:
        async with gateway(tmp_path, configured(tried, server), rows) as whole:
            async with whole.producer(timeout=30) as producer:
                await run(tried, producer)
            books = await wrong_in_the_books(whole, tried)
        calls = by_case(await server.calls())
    wrong = {str(case): differences(case, calls[case.exchange.id, CUTS[case.cut]]) for case in tried}
    with capsys.disabled():
        print(f"\n{told(provider, tried, wrong)}; {time.monotonic() - begun:.1f} s")
    assert not books, "\n".join(books)
    assert not any(wrong.values()), "\n".join(f"{case}: {one}" for case, found in wrong.items() for one in found)


async def run(tried: list[Case], producer: Producer) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with places:
            await case.run(producer)

    await asyncio.gather(*map(one, tried))


def by_case(calls: list[dict[str, Any]]) -> Mapping[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for call in calls:
        found[call["id"], call["headers"].get("x-replay-fault", "")].append(call)
    return found


async def wrong_in_the_books(whole: Gateway, tried: list[Case]) -> list[str]:
    """One record a job, one fact an attempt, and nothing left of any."""
    await whole.settled()
    records = await whole.results()
    attempts = [attempt for case in tried for attempt in case.record.attempts]
    facts = await whole.facts(len(attempts))
    found = [f"{case} has another record" for case in tried if records.get(case.record.job) != case.record]
    if len(records) != len(tried) or len(facts) != len(attempts):
        found.append(f"{len(tried)} jobs, {len(records)} records, {len(attempts)} attempts, {len(facts)} facts")
    return found


def differences(case: Case, calls: list[dict[str, Any]]) -> list[str]:
    """Everything that is not as it should be with one case; ``calls`` are those that the provider saw for it."""
    found = [] if case.exchange.id in MISLABELLED else compare()(case.exchange.expected, case.told())
    if case.asked.kind == "no job" and not case.asked.why:
        found.append("is no job, and NO_JOB does not say why")
    if len(calls) != len(case.record.attempts):
        found.append(f"{len(calls)} calls for {len(case.record.attempts)} attempts")
    for call in calls:
        found += wrong_in_the_call(case, call)
    if case.error is not None:
        found += wrong_in_the_error(case.error)
    elif case.streamed:
        found += case.apart()
    return found


def wrong_in_the_call(case: Case, call: dict[str, Any]) -> list[str]:
    """The provider is shown the key, and asked what was asked when it was recorded."""
    found = [] if any(KEY in call["headers"].get(name, "") for name in BEARERS) else ["the key was not sent"]
    if case.asked.kind != "own":
        return found
    was = essence(case.exchange.dialect, case.exchange.request)
    now = essence(case.exchange.dialect, json.loads(call["body"]))
    for loss in case.record.attempts[0].losses:
        if loss.kind in {"dropped", "clamped"} and loss.field.startswith("settings."):
            was.pop(loss.field.removeprefix("settings."), None)
    if was != now:
        apart = {name: (was.get(name), now.get(name)) for name in {*was, *now} if was.get(name) != now.get(name)}
        found.append(f"asked for something else: {str(apart)[:1000]}")
    return found


def wrong_in_the_error(error: JobFailed) -> list[str]:
    """One attempt was allowed: what it permits decides what the producer's program catches."""
    failure = error.attempts[0].failure
    assert failure is not None
    action, got = failure.permits.action, (type(error), error.kind)
    if action is Action.REPORT:
        wanted = (JobFailed, failure.kind)
    elif action is Action.WAIT:
        wanted = (JobExpired, FailureKind.EXPIRED)
    else:
        wanted = (JobFailed, FailureKind.RETRIES_EXHAUSTED)
        if failure.kind.value not in str(error):
            return [f"{failure.kind.value} is not told: {error}"]
    return [] if got == wanted else [f"{failure.kind.value} became {got}, not {wanted}"]


def told(provider: str, tried: list[Case], wrong: Mapping[str, list[str]]) -> str:
    """What was tried, how much of it is equal, and why some of it was asked with another question."""
    first = [case for case in tried if case.cut == "as recorded"]
    kinds = Counter(case.asked.kind for case in first)
    equal = sum(not wrong[str(case)] and case.exchange.id not in MISLABELLED for case in tried)
    failures = sum(case.exchange.is_failure for case in first)
    known = len({case.exchange.id for case in tried} & MISLABELLED.keys())
    reasons = Counter(case.asked.why for case in first if case.asked.kind == "no job")
    lines = [
        f"{provider}: {len(first)} recordings ({failures} of failures), {len(tried)} runs with streams cut otherwise: "
        f"{equal} equal" + (f", {known} with a wrong expectation" if known else ""),
        f"  asked with their own request: {kinds['own']}; with a plain question: {len(first) - kinds['own']}, of which",
        f"    {kinds['silent']} x only the answer was recorded",
        f"    {kinds['invalid']} x the request is wrong in itself",
        *(f"    {count} x {why}" for why, count in sorted(reasons.items())),
    ]
    return "\n".join(lines)


def test_requests_that_are_wrong_in_themselves_are_refused_before_anything_is_sent() -> None:
    wrong = [exchange for name in OURS for exchange in recorded(name) if asked(exchange).kind == "invalid"]
    assert wrong
    for exchange in wrong:
        producer = Producer("nats://127.0.0.1:1", project="nobody")
        body = exchange.request
        given = {name: body[name] for name in SETTINGS if name in body}
        with pytest.raises(InvalidRequest) as caught:
            producer.stream(model=exchange.model, messages=body.get("messages"), **given)
        assert caught.value.field, exchange.id
        assert caught.value.remedy, exchange.id
        assert exchange.is_failure, f"{exchange.id}: the provider had an answer to it"
