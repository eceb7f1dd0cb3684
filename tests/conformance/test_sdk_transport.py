"""What every transport of the SDK does, held by the one over NATS and the one in memory alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from job_contracts import subjects
from producer_sdk.errors import Closed, TooLarge, Unreachable
from producer_sdk.outbox import FIRST
from producer_sdk.request import Request, prepare
from producer_sdk.transport import Transport
from runtime.broker import Broker
from tests.support.eventually import eventually
from tests.support.houses import House, memory_house, nats_house
from tests.support.stand_in import PROJECT, broker_config

STEM = "stem"


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.restorations = 0

    def heard(self, subject: str, data: bytes) -> None:
        self.messages.append((subject, data))

    def restored(self) -> None:
        self.restorations += 1

    def kinds(self, job: str) -> list[str]:
        place = subjects.live_job(PROJECT, job)[:-1]
        return [subject.removeprefix(place) for subject, _ in self.messages if subject.startswith(place)]


@pytest.fixture(params=["memory", "nats"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    if request.param == "memory":
        async with memory_house() as made:
            yield made
    else:
        broker = await Broker(broker_config(), tmp_path).start()
        try:
            async with nats_house(broker) as over_nats:
                yield over_nats
        finally:
            await broker.stop()


@pytest.fixture
async def ear() -> Ear:
    return Ear()


@pytest.fixture
async def transport(house: House, ear: Ear) -> AsyncIterator[Transport]:
    opened = house.transport()
    await opened.open(STEM, ear, timeout=5.0)
    yield opened
    await opened.close()


def job(leaf: str = "leaf", *, stem: str = STEM, text: str = "Hi", stream: bool = False) -> Request:
    return prepare("fast", text, (), {}, stream=stream, new_id=f"{stem}-{leaf}", token="token", now=1.0)


async def put(transport: Transport, request: Request) -> bool:
    headers = {subjects.H_TICKET: request.header, **FIRST}
    return await transport.store(subjects.submit(PROJECT, request.job), request.body, headers, timeout=5.0)


async def test_a_stored_job_is_played_and_its_result_is_heard(transport: Transport, ear: Ear) -> None:
    assert await put(transport, job())
    await eventually(lambda: ear.kinds("stem-leaf") == ["res"])
    assert json.loads(ear.messages[0][1])["state"] == "succeeded"


async def test_a_streamed_job_is_heard_token_by_token_before_its_result(transport: Transport, ear: Ear) -> None:
    assert await put(transport, job(text="one two", stream=True))
    await eventually(lambda: "res" in ear.kinds("stem-leaf"))
    await eventually(lambda: ear.kinds("stem-leaf").count("tok") == 4)


async def test_a_subject_that_holds_its_message_says_so(house: House, transport: Transport) -> None:
    house.stage.held = True
    assert await put(transport, job())
    assert not await put(transport, job())
    assert not await put(transport, job(text="Something else"))
    await eventually(lambda: len(house.stage.received) == 1)


async def test_many_at_once_are_all_stored(house: House, transport: Transport) -> None:
    stored = await asyncio.gather(*[put(transport, job(f"leaf{index}")) for index in range(300)])
    assert stored == [True] * 300
    await eventually(lambda: len(house.stage.received) == 300)


async def test_jobs_of_other_stems_are_heard_only_when_listened_to(transport: Transport, ear: Ear) -> None:
    await put(transport, job("one", stem="foreign"))
    await transport.listen(subjects.live_job(PROJECT, "foreign-two"))
    await transport.listen(subjects.live_job(PROJECT, "foreign-two"))
    await put(transport, job("two", stem="foreign"))
    await eventually(lambda: ear.kinds("foreign-two") == ["res"])
    assert ear.kinds("foreign-one") == []
    await transport.ignore(subjects.live_job(PROJECT, "foreign-two"))
    await transport.ignore(subjects.live_job(PROJECT, "foreign-two"))


async def test_what_is_ignored_is_no_longer_heard(house: House, transport: Transport, ear: Ear) -> None:
    house.stage.held = True
    await transport.listen(subjects.live_job(PROJECT, "foreign-one"))
    await put(transport, job("one", stem="foreign"))
    await put(transport, job("mine"))
    await eventually(lambda: len(house.stage.received) == 2)
    await transport.ignore(subjects.live_job(PROJECT, "foreign-one"))
    house.stage.release()
    await eventually(lambda: ear.kinds("stem-mine") == ["res"])
    assert ear.kinds("foreign-one") == []


async def test_the_desk_answers_a_question(transport: Transport) -> None:
    answer = await transport.ask(subjects.api(PROJECT, "hello"), b"{}", timeout=5.0)
    assert json.loads(answer)["project"] == PROJECT


async def test_a_question_that_nobody_answers_fails_in_time(house: House, transport: Transport) -> None:
    house.disconnect()
    with pytest.raises(Unreachable):
        await transport.ask(subjects.api(PROJECT, "hello"), b"{}", timeout=0.3)


async def test_a_message_over_the_limit_is_refused_before_it_is_sent(house: House, transport: Transport) -> None:
    with pytest.raises(TooLarge):
        await transport.store(
            subjects.submit(PROJECT, "stem-big"), b"x" * transport.max_payload, {"A": "b"}, timeout=5.0
        )
    assert await put(transport, job("small"))
    await eventually(lambda: [received.job.id for received in house.stage.received] == ["stem-small"])


async def test_without_a_connection_a_job_waits_and_then_fails_as_certainly_not_stored(
    house: House, transport: Transport
) -> None:
    house.disconnect()
    await eventually(lambda: _lost(transport))
    with pytest.raises(Unreachable) as caught:
        await transport.store(subjects.submit(PROJECT, "stem-a"), b"{}", {}, timeout=0.3)
    assert not caught.value.maybe_stored


async def test_a_job_given_out_without_a_connection_is_stored_when_it_is_back(
    house: House, transport: Transport, ear: Ear
) -> None:
    house.disconnect()
    storing = asyncio.create_task(put(transport, job()))
    await eventually(lambda: _lost(transport))
    house.reconnect()
    assert await storing
    await eventually(lambda: ear.kinds("stem-leaf") == ["res"], within=10)


async def test_the_listener_is_told_that_something_may_have_been_missed(
    house: House, transport: Transport, ear: Ear
) -> None:
    house.disconnect()
    await eventually(lambda: _lost(transport))
    house.reconnect()
    await eventually(lambda: ear.restorations == 1, within=10)
    assert await put(transport, job())
    await eventually(lambda: ear.kinds("stem-leaf") == ["res"])


async def test_closing_fails_what_waits_and_everything_after(house: House, transport: Transport) -> None:
    house.disconnect()
    waiting = asyncio.create_task(put(transport, job()))
    await asyncio.sleep(0)
    await transport.close()
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await put(transport, job("later"))
    await transport.close()


async def test_no_connection_in_time_is_unreachable(house: House, ear: Ear) -> None:
    house.disconnect()
    fresh = house.transport()
    with pytest.raises(Unreachable):
        await fresh.open(STEM, ear, timeout=0.3)
    await fresh.close()


def _lost(transport: Transport) -> bool:
    """Whether the transport knows that its connection is gone (the one in memory always does)."""
    client = getattr(transport, "_client", None)
    return client is None or not client.is_connected
