"""A process dies where it is asked to, the n-th time, and nowhere else."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from runtime.crash import POINTS, NoSuchPoint, crash_at
from runtime.telemetry import Telemetry

DYING = """
from runtime.crash import crash_at
from runtime.telemetry import Telemetry

telemetry = Telemetry()
crash_at(telemetry, "workers", "result.stored:3")
for number in range(5):
    telemetry.emit("outcome.stored")
    print(number, flush=True)
    telemetry.emit("result.stored")
"""


def test_the_nth_event_kills_the_process_from_within() -> None:
    died = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.split() == ["0", "1", "2"]
    assert died.stderr == "CRASH_AT=result.stored\n"


def test_nothing_listens_unless_it_is_asked_for() -> None:
    telemetry = Telemetry()
    for asked in (None, ""):
        crash_at(telemetry, "workers", asked)
    for point in POINTS:
        telemetry.emit(point.event)


@pytest.mark.parametrize("asked", ["nowhere", "dispatch.stored", "result.stored:0", "result.stored:x", ":3"])
def test_what_is_no_point_of_the_process_is_refused_with_those_there_are(asked: str) -> None:
    with pytest.raises(NoSuchPoint, match=r"the points of workers are attempt\.fetched, .*books\.acknowledged"):
        crash_at(Telemetry(), "workers", asked)


def test_points_are_named_once_a_process() -> None:
    names = [(point.process, point.event) for point in POINTS]
    assert len(set(names)) == len(names)
