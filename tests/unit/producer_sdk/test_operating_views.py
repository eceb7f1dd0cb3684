"""What operators read of what the leader tells."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from job_contracts.operating import Audited, AuditLine, Overview, Rates, Standing
from producer_sdk.cli.operating_tables import screen
from producer_sdk.cli.operating_views import NAMED, apart, audit_line, head, limit_rows, pool_rows

ORDER = {"standing": {"state": "draining", "until": 700.0}, "by": "ann", "why": "[red]w", "at": 90.0, "seq": 3}
TOLD: dict[str, Any] = {
    "at": 100.0,
    "leader": {"owner": "s1", "term": 7, "since": 40.0},
    "pools": [
        {"name": "a", "state": "draining", "slots": 8, "in_flight": 2, "queued": {"bg": 1200}, "oldest": 7200.0,
         "order": ORDER},
        {"name": "b", "state": "draining", "slots": 8, "allowed": 4},
        {"name": "c", "state": "running", "deployments": [{"name": "c/m", "limit": "c", "benched": "timeout"}]},
    ],
    "limits": [
        {
            "name": "a",
            "pool": "a",
            "units": [
                {"unit": "requests", "limit": 60, "configured": 6000, "window": 60, "size": 3,
                 "available": -1.5, "reserved": 2},
                {"unit": "concurrency", "limit": 4, "size": 4, "available": 2, "reserved": 2},
            ],
            "closed": 4.0,
            "closed_why": "429",
            "order": {**ORDER, "standing": {"limits": {"rpm": 60, "concurrency": 4}, "until": 130}},
        },
        {"name": "c", "pool": "c"},
    ],
    "lanes": [{"name": "bg", "share": 0.05, "queued": 1200, "oldest": 7200.0}],
    "known": 1202,
    "in_flight": 2,
    "unread": 9,
}  # fmt: skip


def workers(*parts: dict[str, str] | None, leader: dict[str, str] | None) -> Overview:
    """A pool whose workers tell this of their configuration, and the leader that."""
    told = [
        {"name": f"w{place}", "slots": 1} | ({} if one is None else {"configured": {"parts": one}})
        for place, one in enumerate(parts)
    ]
    led = TOLD["leader"] | ({} if leader is None else {"configured": {"parts": leader}})
    return Overview.model_validate(
        TOLD | {"leader": led, "pools": [{"name": "a", "state": "running", "workers": told}]}
    )


def test_workers_with_another_configuration_than_the_leader_are_named_with_what_differs() -> None:
    ours, theirs = {"routes": "1", "projects": "1"}, {"routes": "1", "projects": "2"}
    assert apart(workers(ours, theirs, None, leader=ours)) == [
        "with another configuration than the leader: a w1 (projects)"
    ]
    assert apart(workers(ours, None, leader=ours)) == []
    assert apart(workers(ours, theirs, leader=None)) == [], "an older leader does not tell"
    (line,) = apart(workers(*[theirs] * (NAMED + 3), leader=ours))
    assert line.count("(projects)") == NAMED
    assert line.endswith(" and 3 more")


def test_a_pool_says_what_is_ordered_of_it_by_whom_and_for_how_long() -> None:
    rows = pool_rows(Overview.model_validate(TOLD))
    assert rows[0] == (
        "a",
        "draining",
        "-",
        "8",
        "2",
        "-",
        "-",
        "-",
        "1,200",
        "2.0 h",
        "draining by ann, 10 min left: [red]w",
    )
    assert [row[1] for row in rows] == ["draining", "drained", "no workers", ""]
    assert rows[1][3] == "8 of 4"
    assert rows[3][0] == "  c/m"
    assert rows[3][-1] == "left alone: timeout"


def test_a_deployment_that_is_weighed_and_a_project_that_is_held_to_less_say_so() -> None:
    weighed = {**ORDER, "standing": {"factor": 0.1, "until": 130}}
    deployments = [{"name": "c/m", "limit": "c", "weights": {"r": 0.1}, "weighed": weighed, "benched": "timeout"}]
    limit = {"name": "project:p", "pool": "", "units": [{"unit": "tokens", "limit": 6, "window": 60, "size": 1,
             "available": 1}], "order": {**ORDER, "standing": {"limits": {"tpm": 6}}}}  # fmt: skip
    told = Overview.model_validate(
        {**TOLD, "pools": [{"name": "c", "state": "running", "deployments": deployments}], "projects": [limit]}
    )
    assert pool_rows(told)[1][-1] == "left alone: timeout; weight times 0.1 by ann, 30 s left: [red]w"
    assert limit_rows(told)[-1] == ("project:p", "tokens", "6/60 s", "-", "1.0", "0", "open", "tpm 6 by ann: [red]w")


def test_a_limit_says_what_is_in_force_beside_what_is_configured() -> None:
    rows = limit_rows(Overview.model_validate(TOLD))
    assert rows[0][:6] == ("a", "requests", "60/60 s", "6,000", "-1.5", "2")
    assert rows[0][6:] == ("closed 4 s: 429", "rpm 60, concurrency 4 by ann, 30 s left: [red]w")
    assert rows[1] == ("", "concurrency", "4", "-", "2.0", "2", "", "")
    assert rows[2][:2] == ("c", "none")


def test_the_whole_screen_fits_and_takes_words_for_words() -> None:
    told = Overview.model_validate(TOLD)
    assert "leader s1 (term 7, 60 s)  jobs 1,202 + 9 beyond the index  in flight 2  waiting bg 1,200 (2.0 h)" in head(
        told
    )
    assert "[red]w" in printed(told, 200)


def printed(told: Overview, width: int) -> str:
    out = StringIO()
    Console(file=out, width=width).print(screen(told, width))
    return out.getvalue()


def test_on_a_narrow_terminal_words_stand_below_the_tables_and_no_number_is_broken() -> None:
    why = "they move to another house, and say it takes until noon"
    pools = [{**TOLD["pools"][0], "name": "a-pool-of-a-long-name", "order": {**ORDER, "why": why}}, *TOLD["pools"][1:]]
    unit = {
        "unit": "input_tokens",
        "limit": 2_000_000,
        "configured": 2_000_000,
        "window": 60,
        "size": 9,
        "available": 9,
    }
    limits = [{**TOLD["limits"][0], "units": [*TOLD["limits"][0]["units"], unit]}]
    told = Overview.model_validate({**TOLD, "pools": pools, "limits": limits})
    lines = [line.rstrip() for line in printed(told, 80).splitlines()]
    assert max(map(len, lines)) <= 80
    assert "  a-pool-of-a-long-name: draining by ann, 10 min left: they move to another" in lines
    assert "  c/m: left alone: timeout" in lines
    assert "  a: closed 4 s: 429" in lines
    assert any("2,000,000/60 s" in line and "input tokens" in line for line in lines)
    assert not any("c/m" in line for line in lines if "timeout" not in line)
    (row,) = (line for line in lines if line.startswith("a-pool"))
    assert row.split()[-3:] == ["1,200", "2.0", "h"]
    assert why in printed(told, 200)


def test_a_line_of_the_audit_tells_the_change() -> None:
    entry = Audited(
        at=0.0,
        by="ann",
        did="override",
        on="limit",
        name="a",
        why="w",
        before=Standing(),
        after=Standing(limits=Rates(rpm=5), until=60.0),
    )
    said = "1970-01-01 00:00:00 ann: override limit a (as configured -> rpm 5 until 1970-01-01 00:01:00): w"
    assert audit_line(AuditLine(seq=1, entry=entry)) == said
    note = Audited(at=0.0, by="bob", did="replay", on="letters", detail={"count": "3"})
    assert audit_line(AuditLine(seq=2, entry=note)) == "1970-01-01 00:00:00 bob: replay letters count=3"
