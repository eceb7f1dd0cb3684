"""What the bus hands to the broker's client, and what it keeps from it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.protocol import command

from runtime.bus.answers import TICK, Answers
from runtime.bus.client import MAX_SUBJECT, check_message, check_subject
from runtime.bus.port import BusError, TooLarge
from runtime.bus.wire import Arrival
from tests.support.eventually import eventually


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "a\tb", "a\x00", "a\u2028b", "a\ud800"])
def test_a_subject_that_could_be_read_as_something_else_is_refused(subject: str) -> None:
    with pytest.raises(BusError):
        check_message(subject, b"", None, 100)
    with pytest.raises(BusError):
        check_subject(subject)


@pytest.mark.parametrize("letter", ["a", "ü", "語"])
def test_a_subject_is_bounded_in_bytes(letter: str) -> None:
    fitting = letter * (MAX_SUBJECT // len(letter.encode()))
    check_subject(fitting)
    with pytest.raises(TooLarge):
        check_subject(fitting + letter)


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"A B": "x"},
        {"A:": "x"},
        {"A\r\nB": "x"},
        {"A": "x\r\nB: y"},
        {"A": "x\ny"},
        {"A": "\r"},
        {"Ä": "x"},
        {"A": "\ud800"},
    ],
)
def test_a_header_that_could_be_read_as_something_else_is_refused(headers: dict[str, str]) -> None:
    check_message("a", b"", {"A": "known by now"}, 100)
    with pytest.raises(BusError):
        check_message("a", b"", headers, 100)


@given(
    st.dictionaries(
        st.from_regex(r"\A[A-Za-z-]{1,20}\Z"),
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=30),
        max_size=5,
    ),
    st.binary(max_size=50),
)
def test_the_limit_counts_headers_and_their_frame_as_they_are_sent(headers: dict[str, str], data: bytes) -> None:
    raw = b"NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode() + b"\r\n"
    sent = command.hpub_cmd("a", "", raw, data) if headers else command.pub_cmd("a", "", data)
    size = int(sent.split(b"\r\n", 1)[0].split()[-1])
    check_message("a", data, headers, size)
    with pytest.raises(TooLarge):
        check_message("a", data, headers, size - 1)


async def test_an_answer_reaches_the_one_who_asked_and_a_late_one_nobody() -> None:
    answers = Answers("in.")
    first, second = answers.token(), answers.token()
    waiting = answers.expect(first, 30.0)
    overdue = answers.expect(second, TICK / 10)
    answers.hear(Arrival(f"in.{first}"))
    assert (await waiting) is not None
    async with asyncio.timeout(5):
        assert await overdue is None
    answers.hear(Arrival(f"in.{second}"))
    answers.hear(Arrival("in.unknown"))


async def standing_still() -> None:
    """Hold the loop for some ticks, and then let it turn as often as an answer needs from the socket to who waits."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 3 * TICK
    while loop.time() < until:
        pass
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_that_came_while_we_stood_still_is_read_before_it_is_missed() -> None:
    answers = Answers("in.")
    token = answers.token()
    waiting = answers.expect(token, TICK / 10)
    await standing_still()
    answers.hear(Arrival(f"in.{token}"))
    assert await waiting is not None


async def test_who_always_stands_still_waits_for_no_answer_for_ever() -> None:
    answers = Answers("in.")
    overdue = answers.expect(answers.token(), TICK / 10)
    for _ in range(2):
        await standing_still()
    assert overdue.done()
    assert overdue.result() is None


async def test_when_the_connection_is_lost_nobody_waits_on() -> None:
    answers = Answers("in.")
    waiting = [answers.expect(answers.token(), 30.0) for _ in range(3)]
    answers.give_up()
    assert await asyncio.gather(*waiting) == [None] * 3
    late = answers.expect(answers.token(), TICK / 10)
    await eventually(late.done)
    assert late.result() is None
