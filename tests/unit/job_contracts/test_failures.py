"""The failover table is complete and says what it means."""

from __future__ import annotations

import pytest

from job_contracts.failures import PERMITS, Action, Bench, Failure, FailureKind, Permits, Scope
from tests.support.docstrings import said_of


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_has_a_row(kind: FailureKind) -> None:
    assert Failure(kind=kind, message="").permits is PERMITS[kind]


def test_the_table_has_no_other_rows() -> None:
    assert set(PERMITS) == set(FailureKind)


@pytest.mark.parametrize("words", [FailureKind, Action, Bench, Scope])
def test_every_word_of_the_table_is_explained(words: type[FailureKind | Action | Bench | Scope]) -> None:
    assert [member.name for member in words if member.name not in said_of(words)] == []


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PERMITS[FailureKind.INTERNAL] = PERMITS[FailureKind.AUTH]  # type: ignore[index]


def rows(action: Action) -> list[Permits]:
    return [permits for permits in PERMITS.values() if permits.action is action]


def test_whatever_switches_counts_so_that_switching_ends() -> None:
    assert all(permits.counts for permits in rows(Action.SWITCH))


def test_what_is_reported_benches_nothing() -> None:
    """The request was at fault, or a person decided: the deployment is as good as before."""
    assert {permits.bench for permits in rows(Action.REPORT)} == {Bench.NO}


def test_what_benches_reaches_further_than_the_request() -> None:
    assert all(permits.scope is not Scope.REQUEST for permits in PERMITS.values() if permits.bench is not Bench.NO)


def test_a_rate_limit_is_waited_out_and_costs_no_attempt() -> None:
    assert PERMITS[FailureKind.RATE_LIMIT] == Permits(
        Action.WAIT, counts=False, bench=Bench.BUCKET, scope=Scope.DEPLOYMENT, letter=True
    )
