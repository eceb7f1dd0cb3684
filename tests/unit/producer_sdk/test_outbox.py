"""The outbox: the same bytes until the answer is known, bounded in time and in number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from producer_sdk.errors import Closed, Forbidden, PenstockError, QueueFull, Refused, TooLarge, Unreachable
from producer_sdk.outbox import Outbox
from tests.support.eventually import eventually

OK = b'{"stream":"SUBMIT_0","seq":1}'


class Line:
    """A connection that notes what is sent."""

    def __init__(self) -> None:
        self.up = True
        self.sent: list[tuple[str, bytes, str, Mapping[str, str] | None]] = []

    async def send(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        if self.up:
            self.sent.append((subject, data, reply, headers))
        return self.up


@pytest.fixture
async def line() -> Line:
    return Line()


@pytest.fixture
async def outbox(line: Line) -> Outbox:
    return Outbox(line.send, "_INBOX_p.x", window=4)


def storing(outbox: Outbox, *, timeout: float = 30.0, data: bytes = b"body") -> asyncio.Task[bool]:
    return asyncio.create_task(outbox.store("subject", data, {"H": "v"}, timeout=timeout))


async def answer(outbox: Outbox, line: Line, data: bytes, status: str = "") -> None:
    await eventually(lambda: line.sent)
    outbox.answered(line.sent[-1][2], data, status)


def error(code: int, words: str, status: int = 400) -> bytes:
    return json.dumps({"error": {"code": status, "err_code": code, "description": words}, "seq": 0}).encode()


async def test_an_acknowledged_message_is_stored(outbox: Outbox, line: Line) -> None:
    task = storing(outbox)
    await answer(outbox, line, OK)
    assert await task
    (sent,) = line.sent
    assert sent[:2] == ("subject", b"body")
    assert sent[2].startswith("_INBOX_p.x.")
    assert sent[3] == {"H": "v"}


async def test_a_subject_that_holds_its_message_is_no_error(outbox: Outbox, line: Line) -> None:
    task = storing(outbox)
    await answer(outbox, line, error(10071, "wrong last sequence: 7"))
    assert not await task


@pytest.mark.parametrize(
    "said", [error(10164, "wrong last sequence"), error(10077, "maximum messages per subject exceeded", 503)]
)
async def test_what_may_still_come_to_nothing_is_asked_again(outbox: Outbox, line: Line, said: bytes) -> None:
    task = storing(outbox)
    await answer(outbox, line, said)
    await eventually(lambda: len(line.sent) == 2)
    await answer(outbox, line, OK)
    assert await task


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (error(10077, "maximum messages exceeded", 503), QueueFull),
        (error(10077, "maximum bytes exceeded", 503), QueueFull),
        (error(10047, "insufficient storage resources available", 500), QueueFull),
        (error(10054, "message size exceeds maximum allowed"), TooLarge),
        (error(10052, "message schedules is disabled"), Refused),
        (b'{"error": 5}', PenstockError),
        (b'not json with "error"', PenstockError),
    ],
)
async def test_a_refusal_is_raised(outbox: Outbox, line: Line, said: bytes, raised: type[Exception]) -> None:
    task = storing(outbox)
    await answer(outbox, line, said)
    with pytest.raises(raised) as caught:
        await task
    assert type(caught.value) is raised


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"", "503"), (error(10008, "JetStream system temporarily unavailable", 503), "")],
)
async def test_a_broker_without_a_leader_is_asked_again_with_the_same_bytes(
    outbox: Outbox, line: Line, said: bytes, status: str
) -> None:
    task = storing(outbox)
    await answer(outbox, line, said, status)
    await eventually(lambda: len(line.sent) == 2)
    outbox.answered(line.sent[-1][2], said, status)
    await eventually(lambda: len(line.sent) == 3)
    assert len(set(map(str, line.sent))) == 1
    outbox.answered(line.sent[-1][2], OK)
    assert await task


async def test_a_place_that_was_given_to_one_who_leaves_is_the_next_ones(line: Line) -> None:
    outbox = Outbox(line.send, "_INBOX_p.x", window=1)
    first, leaving, staying = storing(outbox), storing(outbox), storing(outbox)
    await eventually(lambda: len(outbox._queue) == 2)
    outbox.answered(line.sent[-1][2], OK)
    asyncio.get_running_loop().call_soon(leaving.cancel)  # when the place is given to it, and not taken yet
    assert await first
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    await eventually(lambda: len(line.sent) == 2)
    await answer(outbox, line, OK)
    assert await staying


async def test_without_an_answer_in_time_it_may_be_stored(outbox: Outbox) -> None:
    with pytest.raises(Unreachable) as caught:
        await storing(outbox, timeout=0.2)
    assert caught.value.maybe_stored


async def test_without_a_connection_it_certainly_is_not(outbox: Outbox, line: Line) -> None:
    line.up = False
    with pytest.raises(Unreachable) as caught:
        await storing(outbox, timeout=0.2)
    assert not caught.value.maybe_stored
    assert line.sent == []


async def test_when_the_connection_is_back_everything_unanswered_is_sent_again(outbox: Outbox, line: Line) -> None:
    first = storing(outbox, data=b"1")
    await eventually(lambda: len(line.sent) == 1)
    line.up = False
    second = storing(outbox, data=b"2")
    await asyncio.sleep(0)
    line.up = True
    outbox.restored()
    await eventually(lambda: [sent[1] for sent in line.sent] == [b"1", b"1", b"2"])
    for sent in line.sent[1:]:
        outbox.answered(sent[2], OK)
    assert await first
    assert await second


async def test_a_question_is_sent_once_and_answered_with_bytes(outbox: Outbox, line: Line) -> None:
    task = asyncio.create_task(outbox.ask("api", b"{}", timeout=5))
    await answer(outbox, line, b'{"error": "is data here"}')
    assert await task == b'{"error": "is data here"}'
    assert len(line.sent) == 1


async def test_a_question_without_anybody_fails_at_once(outbox: Outbox, line: Line) -> None:
    task = asyncio.create_task(outbox.ask("api", b"{}", timeout=60))
    await answer(outbox, line, b"", "503")
    with pytest.raises(Unreachable):
        await task


async def test_an_answer_too_late_or_to_nobody_is_ignored(outbox: Outbox, line: Line) -> None:
    with pytest.raises(Unreachable):
        await outbox.ask("api", b"{}", timeout=0.15)
    outbox.answered(line.sent[0][2], b"late")
    outbox.answered("_INBOX_p.x.never", b"what")


async def test_no_more_than_the_window_are_under_way(outbox: Outbox, line: Line) -> None:
    tasks = [storing(outbox, data=b"%d" % n) for n in range(10)]
    await eventually(lambda: len(line.sent) == 4)
    for n in range(10):
        await eventually(lambda n=n: len(line.sent) > n)  # type: ignore[misc]  # the default binds n now
        outbox.answered(line.sent[n][2], OK)
    assert await asyncio.gather(*tasks) == [True] * 10
    assert [sent[1] for sent in line.sent] == [b"%d" % n for n in range(10)]


async def test_a_full_window_that_does_not_move_is_an_error_in_time(outbox: Outbox, line: Line) -> None:
    tasks = [storing(outbox) for _ in range(4)]
    await eventually(lambda: len(line.sent) == 4)
    with pytest.raises(Unreachable, match="unanswered"):
        await storing(outbox, timeout=0.1)
    for sent in line.sent:
        outbox.answered(sent[2], OK)
    assert all(await asyncio.gather(*tasks))


async def test_a_caller_that_is_cancelled_frees_its_place(outbox: Outbox, line: Line) -> None:
    tasks = [storing(outbox) for _ in range(6)]
    await eventually(lambda: len(line.sent) == 4)
    for task in (tasks[0], tasks[5]):
        task.cancel()
    await eventually(lambda: len(line.sent) == 5)
    for sent in line.sent:
        outbox.answered(sent[2], OK)
    assert await asyncio.gather(*tasks[1:5]) == [True] * 4


async def test_a_forbidden_subject_fails_whoever_publishes_there_and_nobody_else(outbox: Outbox, line: Line) -> None:
    theirs = storing(outbox)
    other = asyncio.create_task(outbox.store("elsewhere", b"x", None, timeout=5))
    await eventually(lambda: len(line.sent) == 2)
    outbox.forbid("subject")
    with pytest.raises(Forbidden):
        await theirs
    outbox.answered(line.sent[1][2], OK)
    assert await other


async def test_refusing_fails_everything_until_restored(outbox: Outbox, line: Line) -> None:
    waiting = storing(outbox)
    await eventually(lambda: line.sent)
    outbox.refuse(Forbidden("no longer"))
    for task in (waiting, storing(outbox)):
        with pytest.raises(Forbidden):
            await task
    outbox.restored()
    again = storing(outbox)
    await eventually(lambda: len(line.sent) == 2)
    outbox.answered(line.sent[1][2], OK)
    assert await again


async def test_closing_fails_what_waits_also_for_a_place(outbox: Outbox, line: Line) -> None:
    tasks = [storing(outbox) for _ in range(6)]
    await eventually(lambda: len(line.sent) == 4)
    outbox.close()
    assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [Closed] * 6
