"""The leash: what a killed process started is gone with it, by the kernel's means and by the guardian's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from appliance.guardian import keep
from tests.support.eventually import eventually

PARENT = """
import asyncio, pathlib, sys
from appliance.leash import Leash
async def main():
    leash = Leash(kernel=sys.argv[1] == "kernel")
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    children = [
        await leash.start([sys.executable, "-I", "-S", "-c", code], env=None, cwd=pathlib.Path.cwd()) for _ in range(3)
    ]
    for child in children:
        await child.stdout.readline()
    children[0].kill()
    await children[0].wait()
    leash.ended(children[0].pid)
    print(*(child.pid for child in children), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

MEANS = [
    pytest.param("kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")),
    "guardian",
]


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_outlives_the_process_that_started_it(means: str, number: signal.Signals) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - the test waits for this process and for nothing else
        [sys.executable, "-c", PARENT, means], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        family = psutil.Process(parent.pid).children(recursive=True)
        assert {process.pid for process in family} >= set(pids[1:])
        parent.send_signal(number)
        parent.wait()
    await eventually(lambda: not any(_runs(process) for process in family), within=10)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_child_whose_parent_is_gone_already_does_not_start(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from appliance.leash import _bound_to_parent\n"
        "_bound_to_parent(os.getpid() + 1)()\n"  # any parent but the real one
        "pathlib.Path(sys.argv[1], 'ran').touch()"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert run.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_guardian_kills_what_was_named_and_not_taken_back() -> None:
    assert keep(["+10\n", "+11\n", "-10\n", "nonsense\n", "+x\n", "\n", "+12"]) == {11, 12}
