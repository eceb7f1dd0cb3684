"""A key's rate: never more than its burst and the time that passed, however many edges share it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.rates import BURST, Rates


def test_a_burst_then_the_rate() -> None:
    rates = Rates()
    admitted = [rates.wait("k", 60.0, 1.0, 0.0, 100.0) == 0 for _ in range(20)]
    assert admitted == [True] * 10 + [False] * 10
    assert rates.wait("k", 60.0, 1.0, 0.0, 100.0) == 1.0
    assert rates.wait("k", 60.0, 1.0, 0.0, 101.0) == 0.0


def test_an_edge_that_joins_begins_empty() -> None:
    rates = Rates()
    assert rates.wait("k", 60.0, 0.5, 100.0, 100.0) == 2.0
    assert rates.wait("k", 60.0, 0.5, 100.0, 102.0) == 0.0


def test_one_that_was_away_begins_empty_again() -> None:
    rates = Rates()
    assert rates.wait("k", 60.0, 1.0, 0.0, 100.0) == 0.0
    assert rates.wait("k", 60.0, 1.0, 100.5, 101.0) > 0.0


def test_nothing_is_admitted_while_nobody_knows_how_many_share() -> None:
    assert Rates().wait("k", 60.0, 0.0, 0.0, 100.0) == 1.0


def test_a_small_rate_admits_one_in_its_time() -> None:
    rates = Rates()
    assert rates.wait("k", 1.0, 1.0, 0.0, 60.0) == 0.0
    assert rates.wait("k", 1.0, 1.0, 0.0, 61.0) == 59.0


def test_keys_do_not_share_with_one_another() -> None:
    rates = Rates()
    assert [rates.wait(key, 1.0, 1.0, 0.0, 60.0) for key in ("a", "b")] == [0.0, 0.0]


@given(
    st.floats(1.0, 6_000.0),
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 2.0), st.integers(1, 30)), max_size=60),
    st.integers(1, 4),
)
def test_all_edges_together_never_admit_more_than_the_burst_and_the_time(
    rpm: float, steps: list[tuple[int, float, int]], edges: int
) -> None:
    each = [Rates() for _ in range(edges)]
    now, admitted = 100.0, 0
    for edge, pause, asked in steps:
        now += pause
        admitted += sum(
            each[edge % edges].wait("k", rpm, 1 / edges, 0.0, now) == 0.0  # all have been there for long
            for _ in range(asked)
        )
    assert admitted <= max(float(edges), rpm / 60 * BURST) + rpm / 60 * (now - 100.0) + 1e-6


@given(st.lists(st.floats(0.0, 2.0), max_size=10), st.lists(st.floats(0.0, 2.0), max_size=10))
def test_what_an_edge_that_joins_takes_the_others_give(alone: list[float], together: list[float]) -> None:
    rpm, old, new = 600.0, Rates(), Rates()
    now, admitted = 100.0, 0
    for pause in alone:
        now += pause
        admitted += sum(old.wait("k", rpm, 1.0, 0.0, now) == 0.0 for _ in range(150))
    joined = now
    for pause in together:
        now += pause
        for rates, since in ((old, 0.0), (new, joined)):
            admitted += sum(rates.wait("k", rpm, 0.5, since, now) == 0.0 for _ in range(150))
    assert admitted <= rpm / 60 * BURST + rpm / 60 * (now - 100.0) + 1e-6
