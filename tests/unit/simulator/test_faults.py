"""Faults by name and by rule, and the grammar of a model's name."""

from __future__ import annotations

import pytest

from simulator.faults import KINDS, Fault, Faults, Rule, UnknownFault, parse_fault
from simulator.names import BadSuffix, parse_name
from simulator.settings import Pace


def pick(faults: Faults, model: str = "m", *, key: str = "k", chance: float = 0.0, now: float = 0.0) -> str | None:
    name = parse_name(model)
    fault = faults.pick(name.full, name.fault, model=name.base, key=key, chance=chance, now=now)
    return None if fault is None else fault.kind


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_fault_can_be_named_without_an_amount(kind: str) -> None:
    assert parse_fault(kind) == Fault(kind, KINDS[kind].default)


@pytest.mark.parametrize(
    ("text", "kind", "status", "amount"),
    [
        ("503", "overloaded", 503, 0.0),
        ("529@7", "overloaded", 529, 7.0),
        ("429", "rate_limit", 429, 1.0),
        ("429@2.5", "rate_limit", 429, 2.5),
        ("418", "status", 418, 0.0),
        ("stall@0.25", "stall", 0, 0.25),
        ("reset@0.5", "reset_within", 0, 0.5),
        ("slow_first_token@3", "slow", 0, 3.0),
        ("html@200", "html", 0, 200.0),
    ],
)
def test_a_fault_is_named_by_kind_or_status_with_an_amount(text: str, kind: str, status: int, amount: float) -> None:
    fault = parse_fault(text)
    assert (fault.kind, fault.status, fault.amount) == (kind, status, amount)


@pytest.mark.parametrize("text", ["", "nonsense", "399", "600", "stall@2", "cut@-0.1", "slow@x", "auth@1", "@1"])
def test_a_fault_that_is_none_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(UnknownFault, match="fault"):
        parse_fault(text)


def test_a_model_name_is_taken_apart() -> None:
    name = parse_name("gpt-5-mini+fault=stall@0.5+p=0.5+times=2+after=1+ttft=0.2+tps=50+tokens=9+think=3+context=800")
    assert name.base == "gpt-5-mini"
    assert name.fault == Fault("stall", 0.5, 0, 0.5, 2, 1)
    assert (name.tokens, name.think, name.context) == (9, 3, 800)
    assert name.pace(Pace(latency=0.1)) == Pace(latency=0.1, ttft=0.2, tokens_per_second=50)


@pytest.mark.parametrize(
    "name",
    [
        "m+what=1",
        "m+fault",
        "m+tps=fast",
        "m+p=2",
        "m+fault=cut+p=2",
        "m+times=1",
        "m+fault=nonsense",
        "m+tokens=-1",
        "m+",
    ],
)
def test_a_suffix_that_means_nothing_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(BadSuffix, match=r"`.+`"):
        parse_name(name)


def test_a_fault_in_a_name_strikes_that_name_alone_and_as_often_as_it_says() -> None:
    faults = Faults()
    assert [pick(faults, "m+fault=503+after=1+times=2") for _ in range(5)] == [
        None,
        "overloaded",
        "overloaded",
        None,
        None,
    ]
    assert pick(faults, "m") is None
    assert [pick(faults, "m+fault=503") for _ in range(3)] == ["overloaded"] * 3
    faults.clear()
    assert [pick(faults, "m+fault=503+after=1+times=2") for _ in range(2)] == [None, "overloaded"]


def test_the_first_rule_that_strikes_is_the_one() -> None:
    faults = Faults()
    faults.add(Rule(1, parse_fault("cut", times=1), "p", models="gpt-*"))
    faults.add(Rule(2, parse_fault("503"), "p", key="other"))
    faults.add(Rule(3, parse_fault("hang", probability=0.5), "p"))
    assert pick(faults, "gpt-5") == "cut"
    assert pick(faults, "gpt-5") == "hang"
    assert pick(faults, "gpt-5", chance=0.5) is None
    assert pick(faults, "claude", key="other", chance=0.5) == "overloaded"
    assert faults.remove(3)
    assert not faults.remove(3)
    assert pick(faults, "gpt-5") is None


def test_a_rule_is_gone_when_its_time_is_over() -> None:
    faults = Faults()
    faults.add(Rule(1, parse_fault("refused"), "p", until=10.0))
    assert faults.closes_listener(9.9)
    assert not faults.closes_listener(10.0)
    assert list(faults.rules(10.0)) == []
