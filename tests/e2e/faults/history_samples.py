"""Small histories for the tests of the judge and of the report: three jobs, one of them hit by a fault."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from job_contracts import subjects
from job_contracts.chat import Answer, TextPart, Usage
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Times, cost_of_all
from simulator.reports import BillLine
from tests.e2e.faults import events as log

T0 = 1_000.0
COST = Decimal("0.001")
"""US dollars, of every attempt."""
KILL = log.Struck(at=T0 + 5.0, id=1, what="worker kill", targets={"alpha1": 7}, pools=("alpha",))
MENDED = log.Mended(at=T0 + 6.0, id=1)
BEGAN = log.Began(
    at=T0,
    seed=1,
    pools=("alpha", "beta"),
    limits=(log.LimitTold(provider="beta", amount=10, window=10.0, burst=0.2, skew=0.0),),
)

History = list[log.Event]


def record(number: int, cost: str = "0.001", **over: Any) -> AttemptRecord:
    values = {
        "number": number,
        "deployment": "alpha/m",
        "provider": "alpha",
        "model": "m",
        "started": T0 + 1,
        "seconds": 0.5,
        "usage": Usage(input=10, output=5),
        "cost": Decimal(cost),
    }
    return AttemptRecord.model_validate({**values, **over})


def result(job: str, **over: Any) -> Result:
    number = over.pop("attempt", 1)
    attempts = over.pop("attempts", (record(number),))
    values = {
        "job": job,
        "project": "red",
        "state": JobState.SUCCEEDED,
        "route": "fast",
        "token": "t",
        "body_hash": f"hash of {job}",
        "nonce": f"red.{job}.{number}",
        "answer": Answer(parts=(TextPart(text="hello"),)),
        "usage": Usage(input=10, output=5),
        "attempts": attempts,
        "cost": cost_of_all(attempts),
        "times": Times(submitted=T0, finished=T0 + 2),
    }
    return Result.model_validate({**values, **over})


def stored(one: Result, seq: int, at: float = T0 + 2.0) -> log.Stored:
    subject = subjects.result(one.project, one.job)
    return log.Stored(at=at, seen="tail", stream="RES", seq=seq, subject=subject, body=encode(one).decode())


def call(job: str, at: float = T0 + 1.0, **over: Any) -> log.Called:
    attempt = f"red.{job}.{over.pop('attempt', 1)}"
    values = {
        "at": at,
        "ended": at + 0.5,
        "provider": "alpha",
        "attempt": attempt,
        "status": 200,
        "outcome": "ok",
        "fault": "",
        "input_tokens": 10,
        "output_tokens": 5,
    }
    return log.Called.model_validate({**values, **over})


def fact(attempt: str, **over: Any) -> log.Stored:
    values = {
        "attempt": attempt,
        "project": "red",
        "route": "fast",
        "deployment": "alpha/m",
        "provider": "alpha",
        "model": "m",
        "started": T0 + 1,
        "seconds": 0.5,
        "usage": Usage(input=10, output=5),
        "cost": COST,
        "reason": "user",
        "won": True,
    }
    facts = Facts(facts=(AttemptFact.model_validate({**values, **over}),))
    return log.Stored(
        at=T0 + 3,
        seen="dump",
        stream="LEDGER",
        seq=1,
        subject=subjects.usage("alpha", "w"),
        body=encode(facts).decode(),
    )


def seen(number: int, one: Result, project: str = "red") -> log.Seen:
    return log.Seen(at=T0 + 2.1, number=number, project=project, body=encode(one).decode())


def submitted(number: int, job: str, **over: Any) -> log.Submitted:
    values = {
        "at": T0,
        "number": number,
        "producer": "sdk",
        "project": "red",
        "job": job,
        "body_hash": f"hash of {job}",
    }
    return log.Submitted.model_validate({**values, **over})


def plain(number: int, job: str, **over: Any) -> History:
    """A job that went as it should."""
    one = result(job)
    return [
        submitted(number, job, **over),
        log.Acked(at=T0 + 0.1, number=number),
        call(job),
        stored(one, number),
        fact(f"red.{job}.1"),
        seen(number, one),
    ]


def bill(attempt: str, *, cost: str = "0.001", output: int = 5) -> log.Billed:
    """What the provider billed for the call of an attempt."""
    return log.Billed(
        line=BillLine(
            at=T0,
            provider="alpha",
            model="m",
            request_id=attempt,
            outcome="ok",
            input_tokens=10,
            output_tokens=output,
            cost_usd=Decimal(cost),
        )
    )


def booked(attempt: str, **over: int) -> log.Booked:
    """What the ledger has of an attempt."""
    counts = {"input": 10, "cache_read": 0, "cache_write": 0, "output": 5, "reasoning": 0, "cost": 10**9, **over}
    return log.Booked.model_validate({"at": T0 + 30, "attempt": attempt, **counts})


def ledger(**over: int) -> History:
    """What the ledger has of the good history; ``over`` changes its sums by the hour."""
    rows: History = [*map(booked, ("red.s-a.1", "red.s-b.1", "red.s-c.2")), booked("red.s-c.1", output=0)]
    all_told = {"attempts": 4, "tokens": 55, "cost": 4 * 10**9}
    whole = {"days": all_told, "months": all_told, "entries": {"cost": 4 * 10**9}}
    of: dict[str, dict[str, int]] = {"hours": {**all_told, **over}, **whole}
    sums = [{"at": T0 + 30, "of": name, "provider": "alpha", **figures} for name, figures in of.items()]
    return [*rows, *map(log.Summed.model_validate, sums)]


def good() -> History:
    """Three jobs: one plain, one streamed, one whose worker was killed in its call and that was called again."""
    estimate = Usage(input=10, output=0, reported=False)
    again = result("s-c", attempt=2, attempts=(record(1, usage=estimate), record(2)))
    return [
        BEGAN,
        *plain(1, "s-a"),
        *plain(2, "s-b", streamed=True),
        log.Streamed(at=T0 + 2.1, number=2, places=((1, 1), (1, 1), (1, 2), (2, 1), (2, 2)), text="hello"),
        submitted(3, "s-c"),
        log.Acked(at=T0 + 0.1, number=3),
        call("s-c", T0 + 4.8, ended=T0 + 5.0, outcome="aborted", output_tokens=1),
        KILL,
        MENDED,
        call("s-c", T0 + 9.0, attempt=2),
        stored(again, 3, T0 + 9.6),
        fact("red.s-c.1", usage=estimate, failure=FailureKind.WORKER_LOST, reason="failed", won=False),
        fact("red.s-c.2"),
        seen(3, again),
        log.Metered(at=T0 + 20, provider="alpha", requests=4, input_tokens=40, output_tokens=16),
    ]
