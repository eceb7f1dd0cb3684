"""Which of several facts of one attempt counts, in whatever order they come and however often."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact

REPORTED, GUESSED = Usage(input=10, output=5), Usage(input=20, output=99, reported=False)


def fact(**over: Any) -> AttemptFact:
    fields = {
        "attempt": "demo.a-1.1",
        "project": "demo",
        "route": "fast",
        "deployment": "alpha/m",
        "provider": "alpha",
        "model": "m",
        "started": 1.0,
        "seconds": 1.0,
        "usage": REPORTED,
        "reason": "user",
        "won": False,
    }
    return AttemptFact.model_validate(fields | over)


IN_ORDER = (
    fact(told_by="leader", usage=GUESSED),  # lost with its worker
    fact(usage=GUESSED),  # the worker wakes up, and its provider told nothing
    fact(),  # the worker wakes up
    fact(won=True, told_by="leader"),  # its result stood in RES, and it died before it told
    fact(won=True),
    fact(told_by="statement", stated=True),  # the provider's own account, a day later
)


def test_the_same_fact_counts_in_whatever_order_they_are_told() -> None:
    for order in permutations(IN_ORDER):
        counting = order[0]
        for told in (*order, *order):
            counting = told if told.outweighs(counting) else counting
        assert counting == IN_ORDER[-1]


def test_of_two_facts_the_better_founded_counts() -> None:
    for number, lesser in enumerate(IN_ORDER):
        assert not lesser.outweighs(lesser)
        for greater in IN_ORDER[number + 1 :]:
            assert greater.outweighs(lesser)
            assert not lesser.outweighs(greater)


def test_a_fact_without_a_teller_is_a_workers() -> None:
    assert fact().told_by == "worker"
