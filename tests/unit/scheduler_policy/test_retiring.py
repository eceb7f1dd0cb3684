"""Days until models retire: of each that does, the soonest first, and of no more than a metric may tell."""

from __future__ import annotations

from datetime import date, timedelta

from catalogue.load import providers
from runtime.bus.memory import MemoryBroker
from runtime.settings import Config
from runtime.telemetry import Metrics, Telemetry
from scheduler.instruments import gauges
from scheduler.policy.retiring import MOST, days_left
from scheduler.policy.rules import DeploymentRule
from scheduler.service import Scheduler
from tests.support.clock import ManualClock

TODAY = date(2026, 11, 1)


def rule(name: str, retires: date | None) -> DeploymentRule:
    return DeploymentRule(name, "a", "a", retires=retires)


def test_days_are_counted_to_the_day_from_which_it_is_not_called_and_go_on_below_zero() -> None:
    rules = [
        rule("a/late", date(2026, 11, 30)),
        rule("a/never", None),
        rule("a/today", TODAY),
        rule("a/gone", date(2026, 10, 30)),
    ]
    assert days_left(rules, TODAY) == {"a/gone": -2, "a/today": 0, "a/late": 29}
    assert list(days_left(rules, TODAY)) == ["a/gone", "a/today", "a/late"]


def test_of_ten_thousand_the_soonest_are_told_and_no_more() -> None:
    rules = [rule(f"a/{number}", TODAY + timedelta(days=10_000 - number)) for number in range(10_000)]
    told = days_left(rules, TODAY)
    assert len(told) == MOST
    assert set(told.values()) == set(range(1, MOST + 1))


def test_a_scheduler_tells_it_whether_it_leads_or_not_and_counts_down_with_the_days() -> None:
    config = Config.model_validate(
        {
            "providers": {"openai": {"key": "k"}, "own": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1"}},
            "routes": {"fast": {"deployments": ["openai/gpt-5-mini", "own/gpt-5-mini"]}},
        }
    )
    clock, rows = ManualClock(), providers()
    day = rows["openai"].model("gpt-5-mini").retires
    assert day is not None
    standing_by = Scheduler(MemoryBroker().bus(), clock, Telemetry(), config, rows, owner="s", version="1")
    metrics = Metrics("scheduler")
    gauges(metrics, standing_by)

    def told() -> float | None:
        return metrics.registry.get_sample_value("penstock_model_retires_days", {"deployment": "openai/gpt-5-mini"})

    before = told()
    assert before == (day - _date(clock)).days
    clock.advance(3 * 86_400.0)
    assert told() == before - 3
    assert b"own/gpt-5-mini" not in metrics.exposition()[1]


def _date(clock: ManualClock) -> date:
    return date(1970, 1, 1) + timedelta(seconds=clock.wall())
