"""States pushed to all who look."""

from __future__ import annotations

import asyncio

import pytest

from console import live
from console.live import Feeds, event
from tests.support.eventually import eventually


class Made:
    """Numbers the states, and waits before each until it is told to go on."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> bytes:
        self.count += 1
        return str(self.count).encode()


async def test_a_state_is_made_once_for_all_who_look_and_not_for_nobody() -> None:
    feeds, made = Feeds(every=60.0), Made()
    readers = [feeds.states("page", made) for _ in range(50)]
    assert {await anext(reader) for reader in readers} == {b"1"}
    assert made.count == 1
    assert feeds.looking == 50
    for reader in readers:
        await reader.aclose()
    assert feeds.looking == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "live"]


async def test_who_is_slow_gets_the_newest_and_none_between() -> None:
    feeds, made = Feeds(every=0.0), Made()
    states = feeds.states("page", made)
    assert await anext(states) == b"1"
    await eventually(lambda: made.count >= 20)
    assert int(await anext(states)) >= 19
    await states.aclose()


async def test_who_looks_again_begins_it_anew() -> None:
    feeds, made = Feeds(every=60.0), Made()
    for expected in (b"1", b"2"):
        states = feeds.states("page", made)
        assert await anext(states) == expected
        await states.aclose()


async def test_closing_ends_it_for_all_and_lets_nobody_in() -> None:
    feeds = Feeds(every=60.0)
    states = feeds.states("page", Made())
    await anext(states)
    await feeds.close()
    with pytest.raises(StopAsyncIteration):
        await anext(states)
    assert feeds.full()


async def test_pages_that_are_kept_current_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST", 1)
    feeds = Feeds(every=60.0)
    states = feeds.states("page", Made())
    before = feeds.full()
    await anext(states)
    assert (before, feeds.full()) == (False, True)
    await states.aclose()


def test_an_event_keeps_its_lines_and_cannot_be_broken_out_of() -> None:
    assert event("state", "a\nb\r\nevent: gone") == b"event: state\ndata: a\ndata: b\ndata: event: gone\n\n"
    assert event("state", "") == b"event: state\ndata: \n\n"
