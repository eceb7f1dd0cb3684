"""The supervisor, with small real processes: started in waves, restarted whatever killed them, stopped in order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from appliance.errors import StartFailed
from appliance.leash import Leash
from appliance.supervisor import Died, Happening, Overdue, Patience, Ready, Spec, Supervisor, in_words
from tests.support.eventually import eventually

QUICK = Patience(ready_within=20.0, look_every=0.005, first_pause=0.01, longest_pause=0.05, tries=3)

CHILD = """
import os, pathlib, signal, sys
folder, name, behaviour = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def note(what):
    with open(folder / "diary", "a") as diary:
        diary.write(f"{name} {what}\\n")
def end(number, frame):
    note("ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "deaf" else end)
note("started")
print(f"{name} speaking", flush=True)
if behaviour == "failing":
    sys.exit("the disk is on fire")
(folder / f"{name}.ready").write_text(str(os.getpid()))
while True:
    signal.pause()
"""


def spec(
    folder: Path, name: str, behaviour: str = "well", *, wave: int = 0, stops: int = 0, grace: float = 20.0
) -> Spec:
    async def ready() -> bool:
        return (folder / f"{name}.ready").exists()

    argv = (sys.executable, "-I", "-S", "-c", CHILD, str(folder), name, behaviour)
    return Spec(name, argv, ready, wave=wave, stops=stops, grace=grace)


@asynccontextmanager
async def supervised(
    folder: Path, *specs: Spec, leash: Leash | None = None, patience: Patience = QUICK
) -> AsyncIterator[tuple[Supervisor, list[Happening]]]:
    happened: list[Happening] = []
    supervisor = Supervisor(specs, folder, say=happened.append, patience=patience, leash=leash)
    try:
        yield supervisor, happened
    finally:
        supervisor.kill()
        await supervisor.stop()


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines()


async def test_processes_start_in_waves_and_stop_in_the_order_that_they_were_given(tmp_path: Path) -> None:
    specs = (
        spec(tmp_path, "broker", stops=2),
        spec(tmp_path, "scheduler", wave=1, stops=1),
        spec(tmp_path, "worker", wave=2),
    )
    async with supervised(tmp_path, *reversed(specs)) as (supervisor, happened):
        await supervisor.start()
        assert [one.name for one in happened] == ["broker", "scheduler", "worker"]
        assert set(supervisor.pids) == {"broker", "scheduler", "worker"}
        await supervisor.stop()
        assert supervisor.pids == {}
    names = ["broker", "scheduler", "worker"]
    assert diary(tmp_path) == [f"{n} started" for n in names] + [f"{n} ended" for n in reversed(names)]
    assert (tmp_path / "worker.log").read_text() == "worker speaking\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_child_that_dies_is_started_again_whatever_killed_it(tmp_path: Path, number: signal.Signals) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one"), spec(tmp_path, "two")) as (supervisor, happened):
        await supervisor.start()
        before = dict(supervisor.pids)
        os.kill(before["one"], number)
        ready = await eventually(lambda: [one for one in happened if isinstance(one, Ready)][2:], within=20)
        (died,) = [one for one in happened if isinstance(one, Died)]
        assert (died.name, died.pid, died.restarts) == ("one", before["one"], 1)
        assert ready[0] == Ready("one", supervisor.pids["one"], 1)
        assert supervisor.pids["one"] != before["one"]
        assert supervisor.pids["two"] == before["two"]


async def test_a_child_that_keeps_dying_is_reported_with_its_log_and_tried_ever_more_slowly(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one")) as (supervisor, happened):
        await supervisor.start()
        for restarts in range(1, 6):
            pid = await eventually(lambda: supervisor.pids.get("one", 0), within=20)
            os.kill(pid, signal.SIGKILL)
            await eventually(partial(_restarted, supervisor, restarts), within=20)
        deaths = [one for one in happened if isinstance(one, Died)]
    assert [one.failures for one in deaths] == [1, 2, 3, 4, 5]
    assert [one.pause for one in deaths] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert deaths[0].tail == "one speaking"
    assert deaths[0].why == "was ended by SIGKILL"
    assert deaths[0].log == tmp_path / "one.log"


def _restarted(supervisor: Supervisor, times: int) -> bool:
    return supervisor.children["one"].restarts == times


async def test_a_child_that_never_becomes_ready_fails_the_start_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one", "failing"), spec(tmp_path, "two", wave=1)) as (supervisor, _):
        with pytest.raises(StartFailed, match=r"one exited with code 1, 3 times in a row(.|\n)*the disk is on fire"):
            await supervisor.start()
    assert diary(tmp_path) == ["one started"] * 3


async def test_a_program_that_does_not_exist_fails_the_start(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async with supervised(tmp_path, Spec("one", (str(tmp_path / "absent"),), never)) as (supervisor, _):
        with pytest.raises(StartFailed, match="could not be executed"):
            await supervisor.start()


async def test_a_child_that_is_not_ready_in_time_is_replaced(tmp_path: Path) -> None:
    impatient = Patience(ready_within=0.2, look_every=0.005, first_pause=0.01, tries=2)

    async def never() -> bool:
        return False

    argv = (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()")
    async with supervised(tmp_path, Spec("one", argv, never), patience=impatient) as (supervisor, _):
        with pytest.raises(StartFailed, match=r"was not ready within 0\.2 s, 2 times"):
            await supervisor.start()


async def test_a_child_deaf_to_the_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one", "deaf", grace=0.1)) as (supervisor, happened):
        await supervisor.start()
        pid = supervisor.pids["one"]
        await supervisor.stop()
        assert happened[-1] == Overdue("one", 0.1)
        assert not psutil.pid_exists(pid)


async def test_stop_before_start_and_twice_is_safe(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one")) as (supervisor, _):
        await supervisor.stop()
        await supervisor.stop()
        assert supervisor.pids == {}


async def test_a_stop_during_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "one"), spec(tmp_path, "two", wave=1)) as (supervisor, _):
        first = supervisor.children["one"]
        await first.start()
        await supervisor.stop()
        with pytest.raises(StartFailed, match="stopped before it was ready"):
            await supervisor.children["two"].start()
        assert supervisor.pids == {}
    assert diary(tmp_path) == ["one started", "one ended"]


async def test_a_mirror_hears_what_children_print(tmp_path: Path) -> None:
    heard: list[tuple[str, bytes]] = []
    happened: list[Happening] = []
    supervisor = Supervisor(
        [spec(tmp_path, "one")],
        tmp_path,
        say=happened.append,
        patience=QUICK,
        mirror=lambda name, data: heard.append((name, data)),
    )
    await supervisor.start()
    await eventually(lambda: heard == [("one", b"one speaking\n")])
    await supervisor.stop()


def test_the_pauses_double_up_to_a_bound() -> None:
    patience = Patience(first_pause=0.5, longest_pause=3.0)
    assert [patience.pause(n) for n in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_an_end_is_put_in_words() -> None:
    assert in_words(3) == "exited with code 3"
    assert in_words(-9) == "was ended by SIGKILL"
    assert in_words(-250) == "was ended by signal 250"
