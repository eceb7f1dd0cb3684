"""Why a job is where it is: what the SDK tells, and how the command shows it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from job_contracts.decisions import Choice, Staying, Weighed
from job_contracts.desk import Estimate, Planned
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState, JobStatus
from job_contracts.results import AttemptRecord
from producer_sdk import NotFound
from producer_sdk.cli.decisions import in_words, put_decision
from producer_sdk.cli.explain import as_object, show
from producer_sdk.explaining import Explanation
from producer_sdk.testing import FakeGateway, fails, says

CHOICE = Choice(
    strategy="cheapest",
    deployment="a/m",
    weighed=(
        Weighed(deployment="b/m", against="left alone for 4.0 s after server_error", cost=Decimal("0.001")),
        Weighed(deployment="a/m", cost=Decimal("0.002")),
        Weighed(deployment="c/m"),
    ),
    session=Staying(home="a/m", cached=900, worth=Decimal("0.003"), saves=Decimal("0.001"), stays=True),
)


def attempt(number: int, deployment: str, kind: FailureKind | None = None, **over: object) -> AttemptRecord:
    """One line of a story."""
    failure = None if kind is None else Failure(kind=kind, message="no luck")
    values = {"provider": "x", "model": "m", "started": 0.0, "seconds": 1.0, **over}
    return AttemptRecord.model_validate({"number": number, "deployment": deployment, "failure": failure, **values})


async def test_a_job_that_waits_is_explained_by_what_it_waits_for() -> None:
    async with FakeGateway() as gateway:
        gateway.stage().held = True
        handle = await gateway.producer().submit(model="fast", messages="Hello")
        found = await handle.explain()
        assert found.result is None
        assert found.because == "held back, waiting for the script, next in line"
        assert found.attempts == ()


async def test_a_job_that_has_ended_is_explained_by_its_attempts() -> None:
    async with FakeGateway() as gateway:
        gateway.script(says("better", after=(fails("server_error", "no luck"),)))
        handle = await gateway.producer().submit(model="fast", messages="Hello")
        await handle.result()
        found = await handle.explain()
        assert found.because == "answered by fake/fake-1, attempt 2"
        assert [each.failure is None for each in found.attempts] == [False, True]
        told = as_object(found)
        assert (told["state"], told["dispatches"], len(told["attempts"])) == ("succeeded", 2, 2)
        assert "token" not in told


async def test_a_job_under_way_shows_the_attempts_it_has_behind_it() -> None:
    async with FakeGateway() as gateway:
        gateway.script(says("slowly", delay=30.0, after=(fails("server_error", "no luck"),)))
        handle = await gateway.producer().submit(model="fast", messages="Hello")
        found = await handle.explain()
        while not found.attempts:
            await asyncio.sleep(0)
            found = await handle.explain()
        assert found.result is None
        assert found.attempts[0].failure is not None


async def test_a_job_that_failed_says_how_and_one_that_never_was_is_not_found() -> None:
    async with FakeGateway() as gateway:
        gateway.script(fails("content_policy", "not this"))
        handle = await gateway.producer().submit(model="fast", messages="Hello")
        await handle.record()
        assert (await handle.explain()).because == "failed, content_policy: not this"
        with pytest.raises(NotFound):
            await gateway.producer().attach("nobody-knows").explain()


def test_words_of_a_provider_do_not_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    status = JobStatus(job="j", state=JobState.QUEUED, route="fast", token="t", body_hash="h", submitted=0.0)
    bad = attempt(1, "a/m").model_copy(
        update={"failure": Failure(kind=FailureKind.SERVER_ERROR, message="x\x1b[2Jy\nz")}
    )
    show(Explanation(status, (bad,), None, 0.0))
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "server_error: x\ufffd[2Jy\ufffdz\n" in said


async def test_an_estimate_asks_for_the_decision_only_if_it_is_to_explain() -> None:
    async with FakeGateway() as gateway:
        asked: list[Planned] = []

        def price(planned: Planned) -> Estimate:
            asked.append(planned)
            return Estimate(decision=CHOICE if planned.explain else None)

        gateway.prices(price)
        producer = gateway.producer()
        plain = await producer.estimate(model="fast", messages="x", session="s", lane="bg")
        told = await producer.estimate(model="fast", messages="x", explain=True)
        assert (plain.decision, told.decision) == (None, CHOICE)
        assert [(one.explain, one.session, one.lane) for one in asked] == [(False, "s", "bg"), (True, None, "std")]
        assert (await producer.simulate(asked[1])).decision == CHOICE


def test_a_decision_is_shown_with_what_counted_and_why_not_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    put_decision(CHOICE)
    said = capsys.readouterr().out
    head, columns, *rows = said.splitlines()
    assert head.strip() == in_words(CHOICE)
    assert "900 tokens in the cache there, worth 0.003 USD; another place saves 0.001 USD" in head
    assert columns.split() == ["deployment", "USD", "verdict"], "what the strategy did not look at has no column"
    assert [row.split()[0] for row in rows] == ["b/m", "a/m", "c/m"]
    assert rows[0].rstrip().endswith("left alone for 4.0 s after server_error")
    assert rows[1].rstrip().endswith("chosen")
    assert rows[2].split()[1] == "-"


def test_the_story_of_a_job_has_its_switches_and_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    status = JobStatus(
        job="j", state=JobState.DISPATCHED, route="fast", token="t", body_hash="h", submitted=0.0, attempts=2,
        deployment="a/m", decision=CHOICE,
    )  # fmt: skip
    attempts = (attempt(1, "b/m", FailureKind.SERVER_ERROR), attempt(2, "a/m", FailureKind.STALLED, decision=CHOICE))
    show(Explanation(status, attempts, None, 0.0))
    said = capsys.readouterr().out
    assert said.startswith("j: handed to a worker, at a/m, in attempt 2\n")
    assert "why it went to a/m:\n" in said
    assert "attempt 2 switched from b/m to a/m after server_error" in said
    assert "why attempt 2 went to a/m:" in said
    assert "server_error: no luck" in said
