"""Debits are credits, whatever facts an attempt has; a text that is cut stays different from others that are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.facts import AttemptFact
from ledger.bookings import booking, fitted, read, written
from ledger.deltas import deltas
from ledger.entries import balances, booked, corrected
from tests.support.ledger_facts import HOSTILE, facts


@given(before=facts, after=facts)
def test_a_correction_leaves_the_balances_of_the_fact_that_counts(before: AttemptFact, after: AttemptFact) -> None:
    old, new = booking(before), booking(after)
    entries = (*booked(old), *corrected(old, new))
    assert all(one.amount > 0 for one in entries)
    assert sum(balances(entries).values()) == 0
    expected = Counter(balances(booked(new)))
    assert {name: sum_ for name, sum_ in balances(entries).items() if sum_} == {n: s for n, s in expected.items() if s}


@given(told=facts)
def test_what_is_added_and_taken_away_again_is_nothing(told: AttemptFact) -> None:
    for sums in deltas([booking(told)], [booking(told)]):
        assert all(not any(each) for each in sums.values())


@given(text=st.text() | st.sampled_from(HOSTILE), size=st.integers(20, 60))
def test_a_text_is_made_to_fit_a_column(text: str, size: int) -> None:
    told = fitted(text, size)
    assert len(told) <= size
    assert "\0" not in told
    assert fitted(told, size) == told
    told.encode()


def test_long_texts_that_differ_at_the_end_stay_different() -> None:
    assert fitted("x" * 900 + "a", 64) != fitted("x" * 900 + "b", 64)


@given(told=facts)
def test_tags_are_read_as_they_were_written(told: AttemptFact) -> None:
    assert read(written(booking(told).tags)) == booking(told).tags
