"""What a wish for a key says, and how a key is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.keys import new_key, overlap_of, scope_of, told
from job_contracts.jobs import Bounds
from job_contracts.keys import KeyRecord, Scope
from job_contracts.money import Budget

NOW = 1_000_000.0


def scope(**wish: Any) -> Scope:
    return scope_of(new_key({"project": "demo", **wish}, projects=["demo"], routes=["chat"]), NOW)


def test_a_wish_becomes_a_scope() -> None:
    assert scope() == Scope()
    found = scope(routes=["chat"], lanes=["rt"], rpm=60, max_tokens=10, max_cost="0.5", expires="2h")
    assert found == Scope.model_validate(
        {"routes": ["chat"], "lanes": ["rt"], "rpm": 60, "max_tokens": 10, "max_cost": "0.5", "expires": NOW + 7_200}
    )
    assert scope(expires="1970-02-01T00:00:00Z").expires == 31 * 86_400.0
    assert scope(expires=NOW + 5).expires == NOW + 5


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"project": "nobody"}, "project"),
        ({"project": ""}, "project"),
        ({"routes": ["none"]}, "routes"),
        ({"routes": []}, "routes"),
        ({"lanes": ["fast"]}, "lanes[0]"),
        ({"rpm": 0}, "rpm"),
        ({"rpm": True}, "rpm"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_cost": "much"}, "max_cost"),
        ({"max_cost": "-1"}, "max_cost"),
        ({"expires": "yesterday"}, "expires"),
        ({"expires": "2000-01-01"}, "expires"),
        ({"expires": NOW}, "expires"),
        ({"expires": "4000d"}, "expires"),
        ({"expires": float("nan")}, "expires"),
        ({"name": "n" * 101}, "name"),
        ({"tpm": 0}, "tpm"),
        ({"concurrency": True}, "concurrency"),
        ({"max_queued": "10"}, "max_queued"),
        ({"budget": {}}, "budget"),
        ({"budget": {"soft": True}}, "budget"),
        ({"budget": {"year": 5}}, "budget.year"),
        ({"budget": 5}, "budget"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wish_that_makes_no_sense_names_its_field(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(Failed) as failed:
        scope(**wish)
    assert failed.value.error.param == field
    assert failed.value.error.status in {400, 404}


def test_what_the_scheduler_holds_a_key_to_travels_with_its_jobs() -> None:
    assert scope(rpm=60, max_tokens=10).bounds() is None
    found = scope(
        tpm=100.0, concurrency=2, max_queued=3, max_queued_bytes=4, budget={"day": "0.5", "month": 9.0}
    ).bounds()
    budget = Budget(day=Decimal("0.5"), month=Decimal(9))
    assert found == Bounds(tpm=100.0, concurrency=2, max_queued=3, max_queued_bytes=4, budget=budget)


def test_an_overlap_is_a_time() -> None:
    assert overlap_of({}, 9.0) == 9.0
    assert overlap_of({"overlap": "24h"}, 9.0) == 86_400.0
    assert overlap_of({"overlap": 0}, 9.0) == 0.0
    for wrong in ("soon", -1, "9999d"):
        with pytest.raises(Failed, match="overlap"):
            overlap_of({"overlap": wrong}, 9.0)


def test_a_key_is_told_without_what_lets_anybody_in() -> None:
    record = KeyRecord(id="0123456789ab", project="demo", hash="f" * 64, created=NOW, scope=Scope(rpm=60.0))
    shown = told(record, NOW)
    assert "f" * 64 not in str(shown)
    assert (shown["state"], shown["scope"], shown["created_at"]) == ("active", {"rpm": 60.0}, 1_000_000)
