"""The verdict of the tour: quiet when every promise was kept, and a sentence for each that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from appliance.demo.books import Account, Books, Guess
from appliance.demo.capped import Capped
from appliance.demo.prompts import Prompt
from appliance.demo.stage import Billed, Use
from appliance.demo.traffic import Story
from appliance.demo.verdict import Evidence, Live, Spread, broken_promises, failures, moved, spread
from job_contracts.attempts import attempt_name
from job_contracts.chat import Answer, TextPart
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Times


def _result(job: str, *, state: JobState = JobState.SUCCEEDED, text: str = "drop", **over: Any) -> Result:
    return Result.model_validate(
        {
            "job": job,
            "project": "demo",
            "state": state,
            "route": "fast",
            "token": "t",
            "body_hash": "b",
            "nonce": "n",
            "answer": Answer(parts=(TextPart(text=text),)),
            "provider": "anthropic",
            "times": Times(submitted=1.0, finished=2.0),
            **over,
        }
    )


def _attempt(number: int, provider: str, kind: FailureKind | None = None) -> AttemptRecord:
    failure = Failure(kind=kind, message="no") if kind else None
    return AttemptRecord(
        number=number,
        deployment=f"{provider}/m",
        provider=provider,
        model="m",
        started=1.0,
        seconds=1.0,
        failure=failure,
    )


def _story(job: str, **over: Any) -> Story:
    return Story(prompt=Prompt(7, {"model": "fast"}), job=job, result=_result(job, **over), seconds=0.5)


SUM = Account(6, 60, 600, Decimal("0.1"))
GUESS = Guess("a", "cancelled", SUM, SUM)


def _first(seen: Evidence) -> str:
    """The name of an attempt that a result tells of."""
    one = next(result for result in seen.results if result.attempts)
    return attempt_name(one.project, one.job, one.attempts[0].number)


def _unpaid(job: str, kind: FailureKind = FailureKind.BUDGET) -> Result:
    return _result(job, state=JobState.FAILED, answer=None, provider=None, failure=Failure(kind=kind, message="no"))


def _kept() -> Evidence:
    away = (_attempt(1, "openai", FailureKind.CONNECT), _attempt(2, "anthropic"))
    lost = (_attempt(1, "anthropic", FailureKind.WORKER_LOST), _attempt(2, "anthropic"))
    stories = [_story("a-1", attempts=lost), _story("a-2", attempts=away)]
    return Evidence(
        stories=stories,
        live=Live(_result("a-0", text="all of it"), "all of it", cuts=1, before=3, after=4),
        http=Live(_result("h-0", text="all of it"), "all of it", cuts=1, before=2, after=5),
        capped=Capped(
            Decimal("0.002"),
            [_result("c-1", cost=Decimal("0.0019")), _unpaid("c-2")],
            Account(1, 9, 9, Decimal("0.0019")),
        ),
        books=Books(SUM, SUM, SUM, SUM),
        stored={"a-0": 1, "h-0": 1, "a-1": 1, "a-2": 1, "c-1": 1, "c-2": 1},
        billed={"anthropic": Billed(ok=6, requests=6, input=10, output=20, cost=Decimal("0.1"))},
        uses={"gemini": Use(most=39, limit=40, refused=0)},
        rate_limited=0,
        interrupted=2,
        restarts={"worker-anthropic": 1},
        seconds=30.0,
    )


def test_nothing_is_said_when_every_promise_was_kept() -> None:
    assert broken_promises(_kept()) == []


def test_attempts_that_were_stopped_because_an_earlier_one_answered_are_no_failures() -> None:
    stopped = tuple(Guess(f"demo.a-1.{number}", "cancelled", SUM, SUM) for number in range(7, 11))
    assert broken_promises(_books(_kept(), guesses=stopped)) == []


BROKEN: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("1 jobs have no result, for example request 7: lost", lambda e: _with(e, result=None, error="lost")),
    ("1 jobs did not succeed", lambda e: _with(e, result=_result("a-1", state=JobState.FAILED))),
    (
        "1 accepted jobs have no result in the stream",
        lambda e: replace(e, stored=dict.fromkeys(sorted(e.stored)[1:], 1)),
    ),
    ("1 results of jobs that nobody submitted", lambda e: replace(e, stored={**e.stored, "x-9": 1})),
    ("1 jobs have more than one result", lambda e: replace(e, stored={**e.stored, "a-1": 2})),
    ("answered 429 3 times", lambda e: replace(e, rate_limited=3)),
    ("its limit was not put to the test", lambda e: replace(e, uses={})),
    ("asked 41 times in a window of 40", lambda e: replace(e, uses={"gemini": Use(41, 40, 0)})),
    ("no job met the outage", lambda e: replace(e, stories=[e.stories[0], _story("a-2")])),
    ("was not started again", lambda e: replace(e, restarts={"broker": 1})),
    ("had no answer in flight", lambda e: replace(e, interrupted=0)),
    ("charges for 2 answers beyond its results, and only 1 attempts failed", lambda e: _billed(e, 7)),
    ("1 results of anthropic have no answer", lambda e: _billed(e, 4)),
    ("was not cut in its middle", lambda e: replace(e, live=replace(e.live, cuts=0))),
    ("was not cut in its middle", lambda e: replace(e, live=replace(e.live, after=0))),
    ("is not the answer of its result", lambda e: replace(e, live=replace(e.live, text="all of"))),
    ("the answer over HTTP, as it was read", lambda e: replace(e, http=replace(e.http, text="of it"))),
    ("1 streams do not add up", lambda e: _with(e, spliced=False)),
    ("$0.0021 was billed against a hard budget of $0.002", lambda e: _capped(e, metered=_spent("0.0021"))),
    ("its provider billed $0.0018", lambda e: _capped(e, metered=_spent("0.0018"))),
    ("was not put to the test: it should pay", lambda e: _capped(e, results=e.capped.results[:1])),
    ("1 jobs under the small budget failed for another", lambda e: _capped(e, results=_timed_out(e))),
    ("the ledger counts 0 attempts", lambda e: _books(e, ledger=Account())),
    ("we say 6 attempts, 60 + 600 tokens, $0.1, the providers metered 0", lambda e: _books(e, metered=Account())),
    ("for example demo.a-1.1", lambda e: _books(e, differing=("demo.a-1.1",))),
    ("2 attempts have no cost", lambda e: _books(e, unpriced=2)),
    (
        "3 attempts are estimated, more than failed",
        lambda e: _books(e, guesses=(Guess("a", "reset", SUM, SUM),) * 3),
    ),
    (
        "3 attempts are estimated, more than failed",
        lambda e: _books(e, guesses=(Guess(_first(e), "cancelled", SUM, SUM),) * 3),
    ),
]


def _spent(cost: str) -> Account:
    return Account(1, 9, 9, Decimal(cost))


def _timed_out(seen: Evidence) -> list[Result]:
    return [*seen.capped.results, _unpaid("c-3", FailureKind.CONNECT)]


def _capped(seen: Evidence, **over: Any) -> Evidence:
    return replace(seen, capped=replace(seen.capped, **over))


def _books(seen: Evidence, **over: Any) -> Evidence:
    return replace(seen, books=replace(seen.books, **over))


def _with(seen: Evidence, **over: Any) -> Evidence:
    return replace(seen, stories=[replace(seen.stories[0], **over), *seen.stories[1:]])


def _billed(seen: Evidence, ok: int) -> Evidence:
    return replace(seen, billed={"anthropic": replace(seen.billed["anthropic"], ok=ok)})


@pytest.mark.parametrize(("sentence", "spoil"), BROKEN)
def test_each_broken_promise_has_its_sentence(sentence: str, spoil: Callable[[Evidence], Evidence]) -> None:
    assert any(sentence in said for said in broken_promises(spoil(_kept())))


def test_failed_attempts_and_moves_are_counted() -> None:
    results = _kept().results
    assert failures(results) == {("openai", FailureKind.CONNECT): 1, ("anthropic", FailureKind.WORKER_LOST): 1}
    assert moved(results) == 1


def test_percentiles_are_values_that_occurred() -> None:
    assert spread([]) is None
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0)
    assert spread(float(n) for n in range(1, 101)) == Spread(50.0, 90.0, 99.0)
