"""Facts in files: what the broker keeps, what the ledger exports, and what is neither."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from gateway.bodies.spend import attempts_sheet, attempts_told
from job_contracts.codec import encode
from job_contracts.spend import Attempt, AttemptPage
from scheduler.whatif import exports
from tests.unit.scheduler_whatif.told import MIDNIGHT, fact

ROW = Attempt(
    attempt="p.c.1.1",
    project="p",
    key="",
    route="r",
    deployment="a/m",
    provider="a",
    model="m",
    at=MIDNIGHT,
    seconds=1.5,
    first_token=None,
    reason="failed",
    failure="server_error",
    won=False,
    told_by="worker",
    reported=True,
    stated=False,
    input=1_000,
    cache_read=10,
    cache_write=0,
    output=100,
    reasoning=5,
    cost=Decimal("0.002"),
    tags={"team": "search"},
)
PAGE = AttemptPage(rows=(ROW,), through=MIDNIGHT)


def test_facts_one_a_line_are_read_as_they_are() -> None:
    facts = [fact(1), fact(2)]
    found, notes = exports.read(b"\n".join(encode(each) for each in facts) + b"\n\n")
    assert found == facts
    assert notes == ()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_ledgers_export_is_read_in_both_its_forms(form: str) -> None:
    data = json.dumps(attempts_told(PAGE)) if form == "json" else attempts_sheet(PAGE)
    (found,), notes = exports.read(data.encode())
    assert (found.attempt, found.started, found.submitted, found.won) == ("p.c.1.1", MIDNIGHT, 0.0, False)
    assert (found.failure, found.cost, found.usage.output) == ("server_error", Decimal("0.002"), 100)
    assert found.tags == {"team": "search"}
    assert notes == (exports.NO_SUBMISSION,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "byte 0 is not UTF-8"),
        (b"hello", "line 1 is no JSON"),
        (b'{"a": 1}', "row 1 is no fact of an attempt"),
        (b"[1]", "row 1 is no fact of an attempt"),
        (b"attempt,at\nx,never\n", "row 1 is no fact of an attempt"),
    ],
)
def test_what_is_no_fact_is_refused_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(exports.NoFacts, match=words):
        exports.read(data)
