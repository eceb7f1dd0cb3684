"""When there is an alert: each share of each window once, none missed, and nothing unusual before it is known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.money import PICO
from ledger.alerts import Drifted, HourSpend, Seen, Spending, Unpriced, holding
from runtime.settings.services import Alerting

RULES = Alerting()
DAY = 86_400.0


def spending(spent: int, start: float = 0.0, budget: int = PICO, name: str = "p") -> Spending:
    return Spending("project", name, name, "day", start, budget, soft=False, spent=spent)


def shares(*seen: Spending) -> list[float]:
    return [alert.data["share"] for alert in holding(Seen(spending=seen), RULES)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, PICO // 4)), max_size=60),
    st.lists(st.floats(0.01, 2.0, allow_nan=False), min_size=1, max_size=4, unique=True),
)
def test_each_share_of_each_window_is_told_once_and_none_is_missed(
    steps: list[tuple[int, int]], at: list[float]
) -> None:
    rules = Alerting(at=tuple(at))
    spent: dict[float, int] = {}
    told: list[tuple[float, float]] = []
    known: set[str] = set()
    window = 0.0
    for days, cost in steps:
        window += days * DAY
        spent[window] = spent.get(window, 0) + cost
        for alert in holding(Seen(spending=(spending(spent[window], window),)), rules):
            if alert.key not in known:
                known.add(alert.key)
                told.append((alert.data["start"], alert.data["share"]))
    assert len(told) == len(set(told))
    reached = {(start, share) for start, cost in spent.items() for share in at if cost >= Decimal(str(share)) * PICO}
    assert set(told) == reached


def test_a_share_is_reached_to_the_picodollar() -> None:
    assert shares(spending(PICO // 2 - 1)) == []
    assert shares(spending(PICO // 2)) == [0.5]
    assert shares(spending(PICO)) == [0.5, 0.8, 1.0]


def test_a_budget_of_nothing_is_used_up_by_anything() -> None:
    assert shares(spending(0, budget=0)) == []
    assert shares(spending(1, budget=0)) == [0.5, 0.8, 1.0]


def test_a_budget_that_was_raised_may_be_reached_again() -> None:
    (low, *_), (high, *_) = (
        holding(Seen(spending=(spending(3 * PICO, budget=budget),)), RULES) for budget in (PICO, 2 * PICO)
    )
    assert low.key != high.key
    assert low.id != high.id


@given(st.lists(st.integers(0, 100 * PICO), max_size=14), st.integers(0, 1_000 * PICO), st.floats(1.01, 10))
@settings(max_examples=200)
def test_an_hour_is_unusual_against_the_median_of_the_last_days(usual: list[int], spent: int, factor: float) -> None:
    found = holding(Seen(hours=(HourSpend(0.0, spent, tuple(usual)),)), Alerting(anomaly=factor))
    if len(usual) < 3 or spent < factor * PICO / 4:
        assert not found
    elif found:
        assert sum(spent >= factor * one * 0.999 for one in usual) * 2 >= len(usual)


def test_one_wild_day_does_not_make_the_next_one_usual() -> None:
    rules = Alerting(anomaly=4.0)
    quiet = (PICO,) * 6
    assert not holding(Seen(hours=(HourSpend(0.0, 4 * PICO - 1, (*quiet, 100 * PICO)),)), rules)
    assert holding(Seen(hours=(HourSpend(0.0, 4 * PICO, (*quiet, 100 * PICO)),)), rules)


def test_unknown_prices_are_told_by_day_and_deployment_and_drift_by_statement() -> None:
    seen = Seen(
        unpriced=(Unpriced(0.0, "a/m", 3), Unpriced(DAY, "a/m", 9), Unpriced(DAY, "a/n", 0)),
        drifted=(Drifted("openai", "d1", 0.0, DAY, 0.25),),
    )
    found = holding(seen, RULES)
    assert [alert.kind for alert in found] == ["unpriced", "unpriced", "drift"]
    assert len({alert.key for alert in found}) == 3
    again = holding(Seen(unpriced=(Unpriced(0.0, "a/m", 5),)), RULES)
    assert again[0].key == found[0].key
    assert "25.0%" in found[2].words


@pytest.mark.parametrize("kind", ["tag", "key"])
def test_whose_tag_or_key_it_is_is_said(kind: str) -> None:
    one = Spending(kind, "team=red", "demo", "total", 0.0, PICO, soft=True, spent=PICO)
    (alert, *_) = holding(Seen(spending=(one,)), RULES)
    assert alert.words.startswith(f"{kind} team=red of demo: 1 of 1 dollars")
    assert alert.project == "demo"
