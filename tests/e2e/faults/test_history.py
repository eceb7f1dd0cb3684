"""The judge catches what is planted: a good history passes, and each way to spoil it is told by its own rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.chat import Answer, TextPart, Usage
from job_contracts.codec import decode, encode
from job_contracts.facts import Facts
from tests.e2e.faults import events as log
from tests.e2e.faults.history import judge, judged
from tests.e2e.faults.history_book import book_of
from tests.e2e.faults.history_samples import (
    T0,
    History,
    bill,
    booked,
    call,
    fact,
    good,
    ledger,
    plain,
    record,
    result,
    seen,
    stored,
    submitted,
)


def without(history: History, kind: type[log.Event], *, last: bool = False) -> History:
    found = [number for number, event in enumerate(history) if isinstance(event, kind)]
    gone = found[-1 if last else 0]
    return [event for number, event in enumerate(history) if number != gone]


def metered(history: History) -> History:
    """The same with a meter that fits its calls."""
    calls = [event for event in history if isinstance(event, log.Called) and event.provider == "alpha"]
    meter = log.Metered(
        at=T0 + 20,
        provider="alpha",
        requests=len(calls),
        input_tokens=sum(one.input_tokens for one in calls),
        output_tokens=sum(one.output_tokens for one in calls),
    )
    return [*(event for event in history if not isinstance(event, log.Metered)), meter]


def record_gone(history: History) -> History:
    return [event for event in history if not (isinstance(event, log.Stored) and "res.red.s.a" in event.subject)]


def body_of_another(history: History) -> History:
    other = encode(result("s-a", body_hash="another")).decode()
    return [
        event.model_copy(update={"body": other})
        if (isinstance(event, log.Seen) and event.number == 1)
        or (isinstance(event, log.Stored) and event.subject.endswith("res.red.s.a"))
        else event
        for event in history
    ]


def receipt(number: int, job: str, **over: Any) -> Callable[[History], History]:
    """The job's result says something else, wherever it is told."""
    body = encode(result(job, **over)).decode()
    place = subjects.result("red", job)
    return lambda history: [
        event.model_copy(update={"body": body})
        if (isinstance(event, log.Seen) and event.number == number)
        or (isinstance(event, log.Stored) and event.subject == place)
        else event
        for event in history
    ]


def without_fact(attempt: str) -> Callable[[History], History]:
    return lambda history: [
        event
        for event in history
        if not (
            isinstance(event, log.Stored)
            and event.stream == "LEDGER"
            and decode(Facts, event.body).facts[0].attempt == attempt
        )
    ]


def beta(count: int, apart: float) -> Callable[[History], History]:
    """So many further calls at the provider with a limit, each a job of its own."""

    def plant(history: History) -> History:
        more: History = []
        for number in range(count):
            job = f"x-{number}"
            more += [call(job, T0 + 1 + number * apart, provider="beta"), fact(f"red.{job}.1")]
        return history + more

    return plant


def streamed(*places: tuple[int, int], text: str = "hello") -> Callable[[History], History]:
    return lambda history: [
        *without(history, log.Streamed),
        log.Streamed(at=T0 + 2.1, number=2, places=places, text=text),
    ]


def plus(*events: log.Event) -> Callable[[History], History]:
    return lambda history: metered([*history, *events])


def told(usage: Usage) -> Callable[[History], History]:
    """The first job's call has a fact with this usage."""
    return lambda history: [*without_fact("red.s-a.1")(history), fact("red.s-a.1", usage=usage)]


def again(job: str, at: float) -> Callable[[History], History]:
    """A second call for a job, accounted for."""
    return plus(call(job, at, attempt=2), fact(f"red.{job}.2"))


def cancelled(at: float, **over: Any) -> Callable[[History], History]:
    return lambda history: [
        *(event for event in history if not (isinstance(event, log.Submitted) and event.number == 1)),
        submitted(1, "s-a", **over),
        log.CancelAcked(at=at, project="red", job="s-a"),
    ]


def wished(**over: Any) -> Callable[[History], History]:
    return lambda history: [
        *(event for event in history if not (isinstance(event, log.Submitted) and event.number == 1)),
        submitted(1, "s-a", **over),
    ]


ANOTHER = result("s-a", answer=Answer(parts=(TextPart(text="other"),)), nonce="red.s-a.9")
STRANGE = result("s-a", project="green")
HEARD = log.Heard(
    at=T0 + 3,
    project="green",
    subject=f"{subjects.live_result('red', 's-a')}",
    body=encode(result("s-a")).decode(),
)
HEARD_UNKNOWN = HEARD.model_copy(update={"body": encode(result("s-q")).decode(), "project": "red"})
CONFLICT = log.Refused(at=T0 + 3, number=9, why="conflict")
SUBMISSION_LEFT = log.Stored(
    at=T0 + 9, seen="dump", stream="SUBMIT_0", seq=9, subject=subjects.queued(0, "red", "s-z"), body="{}"
)

BILLS = (*map(bill, ("red.s-a.1", "red.s-b.1", "red.s-c.2")), bill("red.s-c.1", cost="0.0005", output=1))

PLANTED: Sequence[tuple[str, str, Callable[[History], History]]] = (
    ("a job is lost", "I1 lost", record_gone),
    ("a producer never gets its result", "I1 unseen", lambda history: without(history, log.Seen)),
    ("a job has two results", "I1 twice", plus(stored(ANOTHER, 99))),
    ("a result is changed in place", "I1 changed", plus(stored(ANOTHER, 1))),
    ("a producer is given another result than the stored one", "I1 changed", plus(seen(1, ANOTHER))),
    ("a listener hears a result that nobody stored", "I1 changed", plus(HEARD_UNKNOWN)),
    ("a project hears another's result", "I6 foreign", plus(HEARD)),
    ("a producer is given another project's result", "I6 foreign", plus(stored(STRANGE, 50), seen(1, STRANGE))),
    ("a submission is answered with another body's result", "I8 key", body_of_another),
    ("a conflict is told where there is none", "I8 key", plus(submitted(9, "s-a"), CONFLICT)),
    ("a call has no fact", "I7 unaccounted", without_fact("red.s-a.1")),
    ("the call of a lost worker has no fact", "I7 unaccounted", without_fact("red.s-c.1")),
    ("a call names no attempt", "I7 unaccounted", plus(call("s-a", T0 + 1.5).model_copy(update={"attempt": ""}))),
    ("a fact tells other tokens than were billed", "I7 tokens", told(Usage(input=10, output=4))),
    ("an estimate stands where no fault struck", "I7 tokens", told(Usage(input=10, reported=False))),
    ("a fact of a call that nobody made", "I7 fact", plus(fact("red.s-q.1"))),
    ("a fact tells another cost than was billed", "I7 money", plus(bill("red.s-a.1", cost="0.002"), *BILLS[1:])),
    ("a result tells another cost than the fact", "I7 receipt", receipt(1, "s-a", attempts=(record(1, "0.002"),))),
    ("a result tells another sum than its attempts", "I7 receipt", receipt(1, "s-a", cost=Decimal("0.002"))),
    ("a result leaves out an attempt that cost something", "I7 receipt", receipt(3, "s-c", attempt=2)),
    ("the ledger has an attempt that nobody told", "I7 ledger", plus(*ledger(), booked("red.s-q.1"))),
    ("the ledger lacks an attempt", "I7 ledger", plus(*ledger()[1:])),
    ("the ledger has another cost than was told", "I7 ledger", plus(*ledger(), booked("red.s-a.1", cost=1))),
    ("the ledger has another token than was told", "I7 ledger", plus(*ledger(), booked("red.s-a.1", output=6))),
    ("the ledger's sums count an attempt twice", "I7 sums", plus(*ledger(attempts=5))),
    ("the ledger's sums differ by a picodollar", "I7 sums", plus(*ledger(cost=4 * 10**9 - 1))),
    ("the ledger has no entries", "I7 sums", plus(*ledger()[:-1])),
    ("the meter knows a call more than the log", "I7 meter", lambda history: without(history, log.Called)),
    ("a job that was cancelled while it was held is called", "I5 cancelled", cancelled(T0 + 0.2, not_before=T0 + 0.9)),
    ("a job is called long after its cancel", "I5 cancelled", cancelled(T0 - 10.0)),
    ("a job is called before its time", "times", wished(not_before=T0 + 1.5)),
    ("a job is called after its deadline", "times", wished(deadline=T0 - 1.0)),
    ("a job succeeds after its deadline", "times", wished(deadline=T0 + 0.5)),
    ("a bucket gives more than it holds", "I2 bucket", beta(5, 0.01)),
    ("a window holds more than the limit", "I2 window", beta(11, 0.9)),
    ("a provider refuses for its limit", "I2 limit", plus(call("s-a", T0 + 1.2, outcome="rate_limited"))),
    ("a job is called again although nothing struck", "extra call", again("s-a", T0 + 2.0)),
    ("one attempt makes two calls", "extra call", plus(call("s-a", T0 + 1.1))),
    ("more calls than were in flight at the faults", "extra calls", again("s-b", T0 + 4.0)),
    ("a stream skips a chunk", "I9 gap", streamed((1, 1), (1, 3))),
    ("a stream goes back a generation", "I9 gap", streamed((2, 1), (1, 2))),
    ("a generation begins in its middle", "I9 gap", streamed((1, 1), (2, 2))),
    ("a stream tells another text than the result", "I9 text", streamed((1, 1), text="hell")),
    ("a submission is left behind", "left behind", plus(SUBMISSION_LEFT)),
    ("a record cannot be read", "unreadable", plus(stored(result("s-d"), 70).model_copy(update={"body": "{}"}))),
)  # fmt: skip


def test_a_good_history_has_no_violation_and_its_figures_are_right(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log.write(path, good())
    verdict = judge(log.read(path))
    assert verdict.violations == ()
    figures = verdict.figures
    assert (figures["jobs accepted"], figures["records"], figures["calls"]) == (3, 3, 4)
    assert (figures["extra calls"], figures["in flight at faults"]) == (1, 1)


@pytest.mark.parametrize(("rule", "plant"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED])
def test_what_is_planted_is_caught(rule: str, plant: Callable[[History], History]) -> None:
    verdict = judge(plant(good()))
    assert rule in {violation.rule for violation in verdict.violations}, verdict.violations


def test_every_rule_the_judge_knows_has_something_planted_against_it() -> None:
    rooms = [Path(__file__).with_name(f"{name}.py") for name in ("history", "history_money")]
    source = "".join(room.read_text(encoding="utf-8") for room in rooms)
    known = {part.split('"')[1] for part in source.split("Violation(")[1:] if part.startswith('"')}
    assert known == {rule for _, rule, _ in PLANTED}


def test_a_conflict_is_right_where_another_body_has_the_key() -> None:
    other = submitted(9, "s-a", keyed=True, body_hash="another")
    history = [*good(), other, log.Acked(at=T0, number=9), log.Refused(at=T0 + 3, number=9, why="conflict")]
    assert judge(history).good


def test_a_call_that_the_provider_spoiled_entitles_to_another() -> None:
    spoiled = call("s-d", T0 + 1.0, outcome="failed", status=0, input_tokens=0, output_tokens=0)
    once = plain(4, "s-d")[0:2]
    end = result("s-d", attempt=2)
    rest: History = [call("s-d", T0 + 2.0, attempt=2), stored(end, 4, T0 + 3), seen(4, end)]
    facts = [fact("red.s-d.1", usage=Usage(), cost=Decimal(0)), fact("red.s-d.2")]
    assert judge(metered([*good(), *once, spoiled, *rest, *facts])).good


def test_an_answer_that_a_cancel_cut_off_may_be_estimated() -> None:
    cut = told(Usage(input=10, reported=False))(good())
    assert not judge(cut).good
    assert judge([*cut, log.CancelAcked(at=T0 + 1.4, project="red", job="s-a")]).good


def test_a_ledger_that_has_what_the_facts_say_is_good_and_its_end_excuses_no_further_call() -> None:
    assert judge([*good(), *ledger()]).good
    blamed = [
        event.model_copy(update={"what": "ledger kill"}) if isinstance(event, log.Struck) else event for event in good()
    ]
    assert "extra call" in {violation.rule for violation in judge(blamed).violations}


def test_facts_that_say_what_was_billed_are_good_and_a_killed_workers_call_is_listed() -> None:
    verdict = judged(book_of([*good(), *BILLS]))
    assert verdict.good
    assert verdict.figures["facts estimated"] == 1


@pytest.mark.parametrize(
    "bills",
    [
        pytest.param((bill("red.s-a.1", cost="0.002"), *BILLS[1:]), id="another cost"),
        pytest.param((bill("red.s-a.1", output=6), *BILLS[1:]), id="another token"),
        pytest.param(BILLS[1:], id="never billed"),
        pytest.param((*BILLS, BILLS[0]), id="billed twice"),
        pytest.param((*BILLS, bill("red.s-q.1")), id="no fact"),
    ],
)
def test_money_that_does_not_agree_is_told(bills: Sequence[log.Billed]) -> None:
    assert {violation.rule for violation in judge([*good(), *bills]).violations} == {"I7 money"}


def test_an_estimate_that_a_better_fact_outweighed_since_may_stand_in_the_result() -> None:
    late = fact("red.s-c.1", cost=Decimal("0.0005"), usage=Usage(input=10, output=1), won=False)
    assert judge([*good(), late, *BILLS]).good
    assert not judge([*without_fact("red.s-c.1")(good()), late, *BILLS]).good
