"""What the appliance says about its processes."""

from __future__ import annotations

from pathlib import Path

from appliance.supervisor import Died, Overdue, Ready
from appliance.words import cramped, told


def _died(failures: int) -> Died:
    return Died(
        "worker-x", 7, "was ended by SIGKILL", failures, failures + 4, 0.1, "last words", Path("/logs/worker-x.log")
    )


def test_a_first_death_is_one_line() -> None:
    assert told(_died(1)) == "worker-x was ended by SIGKILL (process 7); started again in 0.1 s (restart 5)"


def test_the_third_death_in_a_row_shows_the_end_of_the_log() -> None:
    said = told(_died(3)) or ""
    assert "3 times in a row" in said
    assert said.endswith("/logs/worker-x.log:\n  | last words")


def test_later_deaths_point_to_the_log() -> None:
    assert (told(_died(9)) or "").endswith("9 times in a row; see /logs/worker-x.log")


def test_a_first_start_is_not_worth_a_line_and_a_restart_is() -> None:
    assert told(Ready("broker", 7, 0)) is None
    assert told(Ready("broker", 8, 2)) == "broker is ready again (process 8, restart 2)"


def test_a_process_that_does_not_end_is_named() -> None:
    assert told(Overdue("scheduler", 45.0)) == "scheduler did not end within 45 s and was killed"


def test_a_disk_that_is_smaller_than_what_the_streams_may_take_is_named_with_what_to_change() -> None:
    gib = 1024**3
    assert cramped(32 * gib, free=20 * gib, taken=12 * gib) is None
    said = cramped(32 * gib, free=20 * gib, taken=11 * gib) or ""
    assert "has 20.0 GiB free" in said
    assert "grow to 32.0 GiB" in said
    assert "nats.max_queue_bytes" in said
