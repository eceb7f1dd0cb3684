"""Which broken answer the next attempt may go on with, as its records tell."""

from __future__ import annotations

import pytest

from job_contracts.failures import Failure, FailureKind
from job_contracts.results import AttemptRecord
from scheduler.policy.continuing import NOT_WORTH_IT, continued

K = FailureKind


def record(number: int, kind: FailureKind, *, produced: bool = False, at: str = "a/m") -> AttemptRecord:
    failure = Failure(kind=kind, message="", produced=produced)
    return AttemptRecord(number=number, deployment=at, provider="a", model="m", started=0, seconds=0, failure=failure)


def test_the_newest_attempt_that_sent_something_is_gone_on_with() -> None:
    history = [record(1, K.RESET, produced=True), record(2, K.STALLED, produced=True), record(3, K.RATE_LIMIT)]
    assert continued(history[:1], "b/m") == 1
    assert continued(history, "b/m") == 2
    assert continued([record(1, K.RESET), record(2, K.CONNECT)], "b/m") is None


def test_the_newest_one_is_told_by_its_number_because_a_hedge_may_end_before_the_attempt_it_stands_beside() -> None:
    assert continued([record(2, K.WORKER_LOST), record(1, K.HANDED_BACK, produced=True)], "b/m") == 2


def test_a_lost_worker_may_have_sent_something() -> None:
    assert continued([record(1, K.RESET, produced=True), record(2, K.WORKER_LOST)], "b/m") == 2


def test_a_place_that_refused_to_go_on_is_not_asked_again_but_another_may_be() -> None:
    history = [record(1, K.RESET, produced=True), record(2, K.PREFILL_REFUSED, at="b/m")]
    assert continued(history, "b/m") is None
    assert continued(history, "c/m") == 1


@pytest.mark.parametrize("kind", sorted(NOT_WORTH_IT))
def test_an_answer_that_was_itself_at_fault_is_not_gone_on_with(kind: FailureKind) -> None:
    assert continued([record(1, kind, produced=True)], "b/m") is None
    assert continued([record(1, kind, produced=True), record(2, K.WORKER_LOST)], "b/m") is None
