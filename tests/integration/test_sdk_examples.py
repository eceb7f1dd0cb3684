"""Every example runs, as it stands, against a real broker."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from job_contracts.chat import ToolTurn
from job_contracts.jobs import Job
from producer_sdk.testing import Reply, calls, fails, says
from tests.support.houses import NatsHouse
from tests.support.sdk import over_nats, sdk_broker  # noqa: F401  # fixtures
from tests.support.stand_in import key

EXAMPLES = Path(__file__).parents[2] / "examples"
COVERED = {"complete.py", "stream.py", "tools.py", "many.py", "test_with_a_fake_gateway.py"}


async def run(house: NatsHouse, *words: str, module: str | None = None) -> str:
    environment = {**os.environ, "PENSTOCK_URL": house.url, "PENSTOCK_KEY": key()}  # noqa: TID251  # for a child
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    command = [sys.executable, *(["-m", module] if module else []), *words]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == COVERED


async def test_complete(over_nats: NatsHouse) -> None:
    over_nats.stage.script.extend([says("It brings water."), fails("content_policy", "not this")])
    assert "It brings water." in await run(over_nats, str(EXAMPLES / "complete.py"), "What?")
    assert "no answer: content_policy" in await run(over_nats, str(EXAMPLES / "complete.py"))


async def test_stream(over_nats: NatsHouse) -> None:
    first = fails("stalled", said="Once", provider="slow")
    over_nats.stage.script.append(says("A drop fell.", after=(first,), pace=0.02))
    out = await run(over_nats, str(EXAMPLES / "stream.py"))
    assert "A drop fell.\n[done]\n" in out
    assert "[stalled: fake/fake-1 starts over]" in out


async def test_tools(over_nats: NatsHouse) -> None:
    def play(job: Job) -> Reply:
        last = job.chat.messages[-1]
        return (
            says(f"It is {last.content}.") if isinstance(last, ToolTurn) else calls("river_length", {"river": "Rhine"})
        )

    over_nats.stage.otherwise = play
    assert (await run(over_nats, str(EXAMPLES / "tools.py"))).endswith("It is 1233 km.\n")


async def test_many(over_nats: NatsHouse, tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "rivers.sqlite")
    assert "10 answered" in await run(over_nats, str(EXAMPLES / "many.py"), checkpoint)
    assert "10 read from the checkpoint" in await run(over_nats, str(EXAMPLES / "many.py"), checkpoint)


@pytest.mark.parametrize("name", ["test_with_a_fake_gateway.py"])
async def test_the_tests_of_users_pass_under_pytest(over_nats: NatsHouse, name: str) -> None:
    words = ("-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLES), "-c", os.devnull, str(EXAMPLES / name))
    assert "2 passed" in await run(over_nats, *words, module="pytest")
