"""What may take long is judged in a process beside, which is stopped when it does."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.eventually import eventually
from workers.answers.apart import Apart, NotStarted, TooCostly
from workers.answers.judging import Unusable, Verdict

LONG = 30.0
TREE = {"$defs": {"t": {"items": {"$ref": "#/$defs/t"}, "type": "array"}}, "$ref": "#/$defs/t"}


def doubled(times: int) -> str:
    """A schema in which one value is looked at 2 ** times times."""
    parts: dict[str, Any] = {"p0": {"type": "string"}}
    for n in range(times):
        parts[f"p{n + 1}"] = {"allOf": [{"$ref": f"#/$defs/p{n}"}, {"$ref": f"#/$defs/p{n}"}]}
    return json.dumps({"$defs": parts, "$ref": f"#/$defs/p{times}"})


@pytest.fixture
async def apart() -> AsyncIterator[Apart]:
    made = Apart(patience=LONG)
    yield made
    await made.close()


@contextmanager
def hurried(apart: Apart) -> Iterator[None]:
    """Meanwhile it stops soon what takes long."""
    apart._patience = 0.1
    yield
    apart._patience = LONG


async def judged(apart: Apart, text: str, schema: str = json.dumps(TREE)) -> Verdict:
    return await apart.judge(schema, schema, text, repair=True, nulls=True)


async def test_a_verdict_is_the_same_as_here(apart: Apart) -> None:
    assert await judged(apart, "[[], [[]]]") == Verdict("[[], [[]]]")
    assert await judged(apart, "So: [[],]") == Verdict(
        "[[]]", ("3 characters around the JSON value are cut", "1 commas before a closing bracket are taken out")
    )
    assert (await judged(apart, "[[], [1]]")).complaint == '[1][0]: the value is not of type "array"'
    assert (await judged(apart, "[\ud800]")).text is None


async def test_what_takes_too_long_is_stopped_and_the_next_one_is_judged(apart: Apart) -> None:
    assert (await judged(apart, "[]")).text == "[]"
    began = time.perf_counter()
    with hurried(apart), pytest.raises(TooCostly):
        await judged(apart, '"x"', doubled(60))
    assert time.perf_counter() - began < 5.0
    assert (await judged(apart, "[]")).text == "[]"


async def test_the_loop_goes_on_meanwhile(apart: Apart) -> None:
    await judged(apart, "[]")
    with hurried(apart):
        hung = asyncio.create_task(judged(apart, '"x"', doubled(60)))
        ticks = 0
        while not hung.done():
            await asyncio.sleep(0)
            ticks += 1
    assert ticks > 20
    assert isinstance(hung.exception(), TooCostly)


@pytest.fixture
async def stopped(apart: Apart) -> AsyncIterator[Process]:
    """Its process, which is not let run."""
    await judged(apart, "[]")
    process = apart._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    yield process
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)


async def test_what_takes_long_because_the_process_is_not_let_run_is_judged_all_the_same(
    apart: Apart, stopped: Process
) -> None:
    with hurried(apart):
        slow = asyncio.create_task(judged(apart, "[[]]"))
        done, _ = await asyncio.wait({slow}, timeout=0.3)
        assert not done
        stopped.send_signal(signal.SIGCONT)
        assert (await slow).text == "[[]]"


async def test_a_process_that_is_never_let_run_again_is_given_up(apart: Apart, stopped: Process) -> None:
    apart._still = 0.1
    with pytest.raises(TooCostly):
        await judged(apart, "[[]]")
    apart._still = LONG
    assert stopped.returncode is not None
    assert (await judged(apart, "[[]]")).text == "[[]]"


async def test_a_schema_that_is_none_is_found_there_as_well(apart: Apart) -> None:
    with pytest.raises(Unusable, match="Retrieval is disabled"):
        await apart.compile("k", '{"$ref": "http://127.0.0.1:9/x"}')
    await apart.compile("k", json.dumps(TREE))


async def test_who_is_interrupted_leaves_no_answer_for_the_next(apart: Apart) -> None:
    await judged(apart, "[]")
    hung = asyncio.create_task(judged(apart, '"x"', doubled(60)))
    await eventually(apart._lock.locked)
    hung.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hung
    assert (await judged(apart, "[[]]")).text == "[[]]"


async def test_who_is_interrupted_while_it_starts_leaves_no_answer_for_the_next_either(apart: Apart) -> None:
    begun = asyncio.create_task(judged(apart, "[1]"))
    await eventually(lambda: apart._process is not None, every=0.0)
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    assert [(await judged(apart, text)).text for text in ("[]", "[[]]")] == ["[]", "[[]]"]


async def test_a_process_that_does_not_start_is_no_schemas_fault(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.answers.apart._CODE", "import sys; sys.stdin.read(1)")
        with pytest.raises(NotStarted):
            await judged(apart, "[]")
        meanwhile.setattr("workers.answers.apart._CODE", "import sys; sys.stdin.read()")
        meanwhile.setattr("workers.answers.apart._START", 0.1)
        with pytest.raises(NotStarted):
            await judged(apart, "[]")
    assert (await judged(apart, "[]")).text == "[]"


async def test_a_system_that_has_no_room_for_a_process_is_no_schemas_fault_either(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> Process:
        raise BlockingIOError

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("asyncio.create_subprocess_exec", full)
        with pytest.raises(NotStarted):
            await judged(apart, "[]")
    assert (await judged(apart, "[]")).text == "[]"


async def test_a_process_that_was_killed_is_started_anew(apart: Apart) -> None:
    await judged(apart, "[]")
    process = apart._process
    assert process is not None
    process.kill()
    await eventually(lambda: process.returncode is not None)
    assert (await judged(apart, "[]")).text == "[]"


async def test_closing_ends_the_process(apart: Apart) -> None:
    await judged(apart, "[]")
    process = apart._process
    assert process is not None
    await apart.close()
    assert process.returncode is not None
