"""eventually(): tests stand on it, so it is tested first."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.eventually import eventually


async def test_what_is_true_already_is_returned_at_once() -> None:
    assert await eventually(lambda: [1, 2], within=0.0) == [1, 2]


async def test_a_predicate_is_asked_again_until_it_is_true() -> None:
    answers = iter([0, "", None, 7])
    assert await eventually(lambda: next(answers), every=0.0001) == 7


async def test_an_async_predicate_is_awaited() -> None:
    answers = iter([False, True])

    async def ready() -> bool:
        await asyncio.sleep(0)
        return next(answers)

    assert await eventually(ready, every=0.0001)


async def test_a_failed_assertion_means_not_yet() -> None:
    looks: list[int] = []

    def third_time() -> bool:
        looks.append(len(looks))
        assert len(looks) == 3
        return True

    assert await eventually(third_time, every=0.0001)


async def test_another_exception_is_raised_at_once() -> None:
    def broken() -> bool:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await eventually(broken, within=60)


async def test_the_failure_tells_the_last_value_the_looks_and_the_source() -> None:
    inbox: list[str] = []
    with pytest.raises(
        AssertionError, match=r"(?s)waiting for mail: not true within 0\.01 s .*last: \[\].*lambda: inbox"
    ):
        await eventually(lambda: inbox, within=0.01, every=0.001, says="waiting for mail")


async def test_the_failure_looks_at_the_state_at_the_end() -> None:
    with pytest.raises(AssertionError, match="jobs: 3 of 4"):
        await eventually(lambda: False, within=0.0, says=lambda: "jobs: 3 of 4")


async def test_a_failed_assertion_is_the_cause_of_the_failure() -> None:
    inbox: list[str] = []

    def never() -> bool:
        assert len(inbox) == 2
        return True

    with pytest.raises(AssertionError, match="a failed assertion") as caught:
        await eventually(never, within=0.001)
    assert isinstance(caught.value.__cause__, AssertionError)


def stand_still(seconds: float) -> None:
    """Nothing of this process goes on, as when it was stopped."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_a_pause_of_the_process_between_two_looks_takes_nothing_of_the_time() -> None:
    answers = iter([False, False, True])
    asyncio.get_running_loop().call_later(0.02, stand_still, 0.5)
    assert await eventually(lambda: next(answers), within=0.3, every=0.1)


async def test_a_pause_of_the_process_within_a_look_is_followed_by_another_look() -> None:
    answers = iter([False, True])

    async def slow() -> bool:
        stand_still(0.1)
        return next(answers)

    assert await eventually(slow, within=0.05)


async def test_a_predicate_that_hangs_is_cancelled_when_the_time_is_up() -> None:
    cancelled = asyncio.Event()

    async def hang() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    with pytest.raises(AssertionError, match="still running"):
        await eventually(hang, within=0.01)
    assert cancelled.is_set()
