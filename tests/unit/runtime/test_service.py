"""Duties and the service that runs them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from runtime.service import Duty, Service
from runtime.telemetry import Event, Telemetry
from tests.support.eventually import eventually


class Noting(Duty):
    """Notes what happens to it."""

    def __init__(self, name: str, notes: list[str], telemetry: Telemetry | None = None, **how: float) -> None:
        super().__init__(name, telemetry or Telemetry(), **how)  # type: ignore[arg-type]
        self.notes = notes

    async def opened(self) -> None:
        self.notes.append(f"{self.name} opened")

    async def closed(self) -> None:
        self.notes.append(f"{self.name} closed")


class Failing(Noting):
    """Raises the first ``times`` times it runs."""

    def __init__(self, notes: list[str], telemetry: Telemetry, times: int, give_up: int) -> None:
        super().__init__("failing", notes, telemetry, give_up=give_up)
        self.left = times

    async def pause(self, seconds: float) -> bool:
        return await super().pause(seconds / 1000)

    async def run(self) -> None:
        if self.left:
            self.left -= 1
            raise ValueError("content that nobody may see")
        self.notes.append("ran")
        await self.stopping.wait()


class Stubborn(Noting):
    """Does not end when it is asked to."""

    async def run(self) -> None:
        self.notes.append("running")
        await asyncio.Event().wait()


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def telemetry(heard: list[Event]) -> Telemetry:
    telemetry = Telemetry()
    telemetry.subscribe(heard.append)
    return telemetry


async def test_starting_and_stopping_twice_is_safe() -> None:
    notes: list[str] = []
    duty = Noting("a", notes)
    await duty.stop()
    await duty.start()
    await duty.start()
    await duty.stop()
    await duty.stop()
    assert notes == ["a opened", "a closed"]


async def test_a_stopped_duty_may_begin_anew() -> None:
    notes: list[str] = []
    duty = Noting("a", notes)
    for _ in range(2):
        await duty.start()
        await duty.stop()
    assert notes == ["a opened", "a closed"] * 2


async def test_a_pause_ends_when_the_duty_is_to_stop() -> None:
    duty = Noting("a", [])
    pausing = asyncio.create_task(duty.pause(3600))
    await asyncio.sleep(0)
    duty.stopping.set()
    assert await pausing is False
    assert await duty.pause(3600) is False


async def test_a_pause_that_is_over_says_so() -> None:
    assert await Noting("a", []).pause(0.001) is True


async def test_a_duty_that_does_not_end_is_cancelled(telemetry: Telemetry, heard: list[Event]) -> None:
    notes: list[str] = []
    duty = Stubborn("s", notes, telemetry, grace=0.01)
    await duty.start()
    await eventually(lambda: "running" in notes)
    await duty.stop()
    assert notes[-1] == "s closed"
    assert [event.name for event in heard] == ["duty.cancelled"]


async def test_a_duty_that_fails_is_run_again(telemetry: Telemetry, heard: list[Event]) -> None:
    notes: list[str] = []
    duty = Failing(notes, telemetry, times=3, give_up=10)
    await duty.start()
    await eventually(lambda: "ran" in notes)
    await duty.stop()
    failures = [event.fields for event in heard if event.name == "duty.failed"]
    assert [fields["error"] for fields in failures] == ["ValueError"] * 3
    assert all(str(fields["place"]).startswith("test_service.py:") for fields in failures)
    assert "nobody may see" not in str(heard)


async def test_a_duty_that_keeps_failing_ends_the_service_with_status_1(telemetry: Telemetry) -> None:
    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Noting("a", notes), Failing(notes, telemetry, times=100, give_up=3))
    assert await asyncio.wait_for(service.run(), 10) == 1
    assert notes == ["a opened", "failing opened", "failing closed", "a closed"]


async def test_duties_start_in_order_and_stop_in_reverse(telemetry: Telemetry) -> None:
    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Noting("a", notes), Noting("b", notes))
    running = asyncio.create_task(service.run())
    await eventually(lambda: len(notes) == 2)
    service.stop()
    assert await running == 0
    assert notes == ["a opened", "b opened", "b closed", "a closed"]


async def test_a_duty_that_cannot_start_stops_those_before_it(telemetry: Telemetry) -> None:
    class Unable(Noting):
        async def opened(self) -> None:
            raise OSError("the port is taken")

    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Noting("a", notes), Unable("b", notes), Noting("c", notes))
    with pytest.raises(OSError, match="the port is taken"):
        await service.run()
    assert notes == ["a opened", "a closed"]


async def test_a_duty_that_fails_to_stop_does_not_keep_the_others_from_stopping(telemetry: Telemetry) -> None:
    class Unstoppable(Noting):
        async def closed(self) -> None:
            raise RuntimeError("stuck")

    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Noting("a", notes), Unstoppable("b", notes))
    service.stop()
    await service.run()
    running = Service("test", telemetry)
    running.add(Noting("a", notes), Unstoppable("b", notes))
    task = asyncio.create_task(running.run())
    await eventually(lambda: "b opened" in notes)
    running.stop()
    assert await task == 1
    assert notes[-1] == "a closed"


async def signalled(service: Service, ready: Callable[[], bool], *numbers: signal.Signals) -> int:
    running = asyncio.create_task(service.run())
    await eventually(ready)
    os.kill(os.getpid(), numbers[0])
    await eventually(service.draining.is_set)
    for number in numbers[1:]:
        os.kill(os.getpid(), number)
    return await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(telemetry: Telemetry, number: signal.Signals) -> None:
    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Noting("a", notes))
    assert await signalled(service, lambda: bool(notes), number) == 0
    assert notes == ["a opened", "a closed"]


async def test_a_second_signal_does_not_wait_for_the_drain(telemetry: Telemetry, heard: list[Event]) -> None:
    notes: list[str] = []
    service = Service("test", telemetry, drain=3600)
    service.add(Stubborn("s", notes, telemetry, grace=3600))
    assert await signalled(service, lambda: "running" in notes, signal.SIGTERM, signal.SIGTERM) == 1
    assert "service.drain_cut_short" in [event.name for event in heard]


async def test_a_drain_is_bounded(telemetry: Telemetry) -> None:
    notes: list[str] = []
    service = Service("test", telemetry, drain=0.05)
    service.add(Stubborn("s", notes, telemetry, grace=3600))
    assert await signalled(service, lambda: "running" in notes, signal.SIGTERM) == 1


async def test_a_signal_while_starting_ends_the_start(telemetry: Telemetry) -> None:
    class Slow(Noting):
        async def opened(self) -> None:
            self.notes.append("opening")
            await asyncio.Event().wait()

    notes: list[str] = []
    service = Service("test", telemetry)
    service.add(Slow("slow", notes), Noting("after", notes))
    assert await signalled(service, lambda: "opening" in notes, signal.SIGTERM) == 0
    assert notes == ["opening"]
