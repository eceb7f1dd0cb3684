"""What a wish for a key says, and how a key is told."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bodies.failures import Failed
from gateway.bodies.keys import new_key, overlap_of, scope_of, told
from job_contracts.keys import KeyRecord, Scope

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
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wish_that_makes_no_sense_names_its_field(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(Failed) as failed:
        scope(**wish)
    assert failed.value.error.param == field
    assert failed.value.error.status in {400, 404}


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
