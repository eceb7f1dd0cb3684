"""The small rooms: adapting, pace, tokens on their way, costs, timeouts."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.attempts import Adaptation
from job_contracts.chat import FinishReason, SystemTurn, Usage, UserTurn
from job_contracts.codec import decode
from job_contracts.decisions import Choice
from job_contracts.failures import Failure, FailureKind
from job_contracts.stream import (
    Chunk,
    Delta,
    EndDelta,
    ReasoningDelta,
    StartDelta,
    TextDelta,
    ToolCallDelta,
)
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from runtime.settings.routing import Limits, Provider
from runtime.telemetry import Telemetry
from tests.support import builders
from tests.support.eventually import eventually
from workers.adapting import adapted
from workers.dialects.port import Partial
from workers.endpoint import NoSuchRow, row_of
from workers.records import Ending, fact_of, partial_usage, record_of
from workers.smoothing import Smoothing, pace
from workers.streaming import Streams, merged
from workers.watch import Watch

# -- adapting


def roles(adaptation: Adaptation | None, *turns: str) -> list[str]:
    kinds = {"s": SystemTurn(role="system", content="old"), "u": UserTurn(role="user", content="hi")}
    conversation = builders.conversation(messages=[kinds[turn] for turn in turns])
    made, _ = adapted(conversation, adaptation)
    return [turn.content if isinstance(turn, SystemTurn) else "-" for turn in made.messages]  # type: ignore[misc]


def test_without_a_rule_nothing_changes() -> None:
    conversation = builders.conversation()
    assert adapted(conversation, None) == (conversation, ())
    assert adapted(conversation, Adaptation()) == (conversation, ())


def test_instructions_are_appended_after_the_leading_ones() -> None:
    assert roles(Adaptation(system_append="new"), "s", "u", "s") == ["old", "new", "-", "old"]
    assert roles(Adaptation(system_append="new"), "u") == ["new", "-"]
    assert roles(Adaptation(system_append="new"), "s") == ["old", "new"]


def test_instructions_are_replaced_wherever_they_stood() -> None:
    assert roles(Adaptation(system_replace="new"), "s", "u", "s", "u") == ["new", "-", "-"]
    assert roles(Adaptation(system_replace="new", system_append="more"), "s", "u") == ["new", "more", "-"]


def test_what_was_changed_is_on_the_record() -> None:
    _, losses = adapted(builders.conversation(), Adaptation(system_replace="a", system_append="b"))
    assert [(loss.kind, loss.field) for loss in losses] == [("rewritten", "messages")] * 2


# -- smoothing


def test_an_unlimited_domain_has_no_pace() -> None:
    assert pace(Limits()) is None
    assert pace(Limits(input_tpm=1000)) is None


def test_the_pace_is_twice_the_limits_and_drains_a_burst_within_a_third_of_the_skew() -> None:
    assert pace(Limits(rpm=6000, burst=0.001)) == 200
    assert pace(Limits(rpm=6000, burst=1, skew=2)) == 9000
    assert pace(Limits(rpm=6000, burst=1e-5, window=3600)) == 200, "a limit is per minute, whatever the window"


async def test_a_burst_of_calls_is_spread() -> None:
    smoothing = Smoothing(Provider(limits=Limits(rpm=600, burst=1, skew=9)))  # 200 starts a second
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.gather(*(smoothing.turn("alpha", "m") for _ in range(21)))
    assert loop.time() - begun >= 0.08


async def test_an_unlimited_domain_waits_for_nothing() -> None:
    smoothing = Smoothing(Provider(limits=Limits(rpm=1)), enabled=False)
    unlimited = Smoothing(Provider())
    async with asyncio.timeout(30):
        for _ in range(1000):
            await smoothing.turn("alpha", "m")
            await unlimited.turn("alpha", "m")


async def test_a_domain_of_its_own_has_its_own_pace() -> None:
    domains = {"large": {"models": ["large-*"], "limits": {"rpm": 1, "skew": 1000}}}
    smoothing = Smoothing(Provider.model_validate({"domains": domains}))
    async with asyncio.timeout(30):
        for _ in range(10):
            await smoothing.turn("alpha", "small-1")
        await smoothing.turn("alpha.large", "large-1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await smoothing.turn("alpha.large", "large-2")


# -- the provider's row

CATALOGUE = {"openai": ProviderRow(name="openai", dialect="openai_chat", base_url="https://x/v1", auth={"a": "{key}"})}


def test_a_known_provider_needs_nothing_but_its_name() -> None:
    assert row_of("openai", Provider(), CATALOGUE) == CATALOGUE["openai"]


def test_the_configuration_overrides_the_address_and_may_name_another_row() -> None:
    row = row_of("mine", Provider(catalogue="openai", base_url="http://127.0.0.1:1"), CATALOGUE)
    assert (row.name, row.base_url, row.auth) == ("mine", "http://127.0.0.1:1", {"a": "{key}"})


def test_a_known_provider_may_be_asked_in_another_dialect_it_speaks() -> None:
    asked = Provider(dialect="openai_responses", base_url="https://y/v1")
    row = row_of("openai", asked, CATALOGUE)
    assert (row.dialect, row.base_url, row.auth) == ("openai_responses", "https://y/v1", {"a": "{key}"})


@pytest.mark.parametrize(
    ("dialect", "header"),
    [("openai_chat", "authorization"), ("openai_responses", "authorization"), ("anthropic", "x-api-key")],
)
def test_an_unknown_provider_takes_its_key_as_its_dialect_does(dialect: str, header: str) -> None:
    provider = Provider.model_validate({"dialect": dialect, "base_url": "http://127.0.0.1:1"})
    assert list(row_of("mine", provider, {}).auth) == [header]


def test_an_unknown_provider_without_an_address_is_refused() -> None:
    with pytest.raises(NoSuchRow, match=r"providers\.mine.*dialect and a base_url"):
        row_of("mine", Provider(), CATALOGUE)


# -- tokens


START = StartDelta(deployment="a/m", provider="a", model="m")
END = EndDelta(finish_reason=FinishReason.STOP, usage=Usage())


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([START], [START]),
        ([START, TextDelta(text="a"), TextDelta(text="b"), END], [START, TextDelta(text="ab"), END]),
        (
            [TextDelta(text="a"), ReasoningDelta(text="b"), ReasoningDelta(text="c"), TextDelta(text="d")],
            [TextDelta(text="a"), ReasoningDelta(text="bc"), TextDelta(text="d")],
        ),
        (
            [
                ReasoningDelta(text="a"),
                ReasoningDelta(text="b", signature="s", origin="f"),
                ReasoningDelta(text="c"),
                ReasoningDelta(text="", redacted="r", origin="f"),
                ReasoningDelta(text="d"),
            ],
            [
                ReasoningDelta(text="ab", signature="s", origin="f"),
                ReasoningDelta(text="c"),
                ReasoningDelta(text="", redacted="r", origin="f"),
                ReasoningDelta(text="d"),
            ],
        ),
        (
            [
                ToolCallDelta(index=0, id="x", name="f"),
                ToolCallDelta(index=0, arguments="{"),
                ToolCallDelta(index=0, arguments="}"),
            ],
            [ToolCallDelta(index=0, id="x", name="f", arguments="{}")],
        ),
        (
            [ToolCallDelta(index=0, arguments="{"), ToolCallDelta(index=1, arguments="{")],
            [ToolCallDelta(index=0, arguments="{"), ToolCallDelta(index=1, arguments="{")],
        ),
        (
            [ToolCallDelta(index=0, id="x"), ToolCallDelta(index=0, id="y")],
            [ToolCallDelta(index=0, id="x"), ToolCallDelta(index=0, id="y")],
        ),
    ],
)
def test_neighbouring_pieces_become_one(deltas: list[Delta], expected: list[Delta]) -> None:
    assert list(merged(deltas)) == expected


class Told:
    """The streams of a worker and the chunks they have published."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.chunks: list[Chunk] = []

    def hear(self, message: Message) -> None:
        self.chunks.append(decode(Chunk, message.data))

    @property
    def deltas(self) -> list[Delta]:
        return [delta for chunk in self.chunks for delta in chunk.deltas]


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    bus = MemoryBroker().bus()
    made = Told(Streams(bus, Telemetry(), coalesce=0.06, enough=100))
    await bus.subscribe(subjects.tokens("default", "stem-1"), made.hear)
    await made.streams.start()
    yield made
    await made.streams.stop()


async def test_the_first_token_goes_at_once_with_the_start(told: Told) -> None:
    stream = told.streams.open("default", "stem-1", 3)
    stream.start(START)
    await stream.add([TextDelta(text="a")])
    await eventually(lambda: told.chunks)
    assert (told.chunks[0].generation, told.chunks[0].sequence) == (3, 1)
    assert told.deltas == [START, TextDelta(text="a")]


async def test_later_tokens_wait_and_go_together(told: Told) -> None:
    stream = told.streams.open("default", "stem-1", 1)
    for text in "abcd":
        await stream.add([TextDelta(text=text)])
    await asyncio.sleep(0)
    assert told.deltas == [TextDelta(text="a")]
    await eventually(lambda: len(told.chunks) == 2)
    assert told.deltas == [TextDelta(text="a"), TextDelta(text="bcd")]


async def test_what_is_enough_does_not_wait(told: Told) -> None:
    stream = told.streams.open("default", "stem-1", 1)
    await stream.add([TextDelta(text="a")])
    await stream.add([TextDelta(text="b" * 60)])
    await stream.add([TextDelta(text="c" * 60)])
    await asyncio.sleep(0)
    assert len(told.chunks) == 2


async def test_a_start_alone_is_told_after_a_moment(told: Told) -> None:
    told.streams.open("default", "stem-1", 1).start(START)
    await eventually(lambda: told.deltas == [START])


async def test_the_end_takes_along_what_waits(told: Told) -> None:
    stream = told.streams.open("default", "stem-1", 1)
    await stream.add([TextDelta(text="a")])
    await stream.add([TextDelta(text="b")])
    await stream.end(END)
    await asyncio.sleep(0)
    assert told.deltas == [TextDelta(text="a"), TextDelta(text="b"), END]
    assert [chunk.sequence for chunk in told.chunks] == [1, 2]


async def test_nothing_is_told_of_a_stream_that_was_abandoned(told: Told) -> None:
    left = told.streams.open("default", "stem-1", 1)
    await left.add([TextDelta(text="a")])
    await left.add([TextDelta(text="b")])
    left.abandon()
    other = told.streams.open("default", "stem-1", 2)
    await other.add([TextDelta(text="x")])
    await other.add([TextDelta(text="y")])
    await eventually(lambda: told.chunks and told.chunks[-1].sequence == 2)
    assert told.deltas == [TextDelta(text="a"), TextDelta(text="x"), TextDelta(text="y")]


async def test_many_streams_at_once_keep_their_order(told: Told) -> None:
    streams = [told.streams.open("default", "stem-1", number) for number in range(1, 21)]
    for word in range(30):
        for stream in streams:
            await stream.add([TextDelta(text=f"{word} ")])
        if word % 10 == 0:
            await asyncio.sleep(0)
    for stream in streams:
        await stream.end(END)
    await eventually(lambda: sum(END in chunk.deltas for chunk in told.chunks) == 20)
    for number in range(1, 21):
        mine = [chunk for chunk in told.chunks if chunk.generation == number]
        assert [chunk.sequence for chunk in mine] == list(range(1, len(mine) + 1))
        text = "".join(delta.text for chunk in mine for delta in chunk.deltas if isinstance(delta, TextDelta))
        assert text == "".join(f"{word} " for word in range(30))


# -- costs


def test_what_a_provider_told_is_taken_and_the_rest_estimated() -> None:
    told = Usage(input=100, output=1)
    assert partial_usage(None, 50) == Usage(input=50, reported=False)
    assert partial_usage(None, 50, 70) == Usage(input=50, output=70, reported=False)
    assert partial_usage(Partial(usage=told, output_characters=400, final=True), 50) == told
    guess = Usage(input=100, output=100, reported=False)
    assert partial_usage(Partial(usage=told, output_characters=400), 50) == guess, "told before the answer was whole"
    so_far = Usage(input=100, output=30)
    later = Partial(usage=so_far, output_characters=120, told_at=80)
    assert partial_usage(later, 50) == Usage(input=100, output=40, reported=False), "30 told, and 40 characters since"
    assert partial_usage(Partial(usage=Usage(), output_characters=8), 50) == Usage(input=50, output=2, reported=False)


@pytest.mark.parametrize(
    ("kind", "reason"), [(FailureKind.CANCELLED, "cancelled"), (FailureKind.RESET, "failed"), (None, "user")]
)
def test_a_fact_says_why_it_was_spent(kind: FailureKind | None, reason: str) -> None:
    failure = Failure(kind=kind, message="x") if kind else None
    fact = fact_of(builders.assignment(), Ending(started=1.0, seconds=2.0, failure=failure), won=kind is None, tags={})
    assert (fact.reason, fact.failure, fact.won) == (reason, kind, kind is None)


def test_the_record_of_an_attempt_repeats_why_it_went_there() -> None:
    """The assignment has said so."""
    decision = Choice(strategy="cheapest", deployment="openai/gpt-5-mini")
    record = record_of(builders.assignment(decision=decision), Ending(started=1.0, seconds=2.0))
    assert record.decision == decision


# -- timeouts


class Rung:
    def __init__(self) -> None:
        self.kinds: list[FailureKind] = []

    def watch(self, total: float) -> Watch:
        return Watch(asyncio.get_running_loop(), self.kinds.append, total=total, kind=FailureKind.TOTAL_TIMEOUT)


async def test_what_does_not_come_in_time_rings_once() -> None:
    rung = Rung()
    watch = rung.watch(10)
    watch.expect(FailureKind.FIRST_TOKEN_TIMEOUT, 0.02)
    await eventually(lambda: rung.kinds)
    assert rung.kinds == [FailureKind.FIRST_TOKEN_TIMEOUT]
    watch.stop()


async def test_whoever_keeps_coming_is_ended_by_the_total_alone() -> None:
    rung = Rung()
    watch = rung.watch(0.2)

    def comes() -> bool:
        watch.expect(FailureKind.STALLED, 0.1)
        return bool(rung.kinds)

    await eventually(comes, every=0.01)
    assert rung.kinds == [FailureKind.TOTAL_TIMEOUT]


async def test_a_watch_that_was_stopped_does_not_ring() -> None:
    rung, other = Rung(), Rung()
    watch = rung.watch(0.02)
    watch.stop()
    watch.stop()
    watch.expect(FailureKind.STALLED, 0.01)
    other.watch(0.05)
    await eventually(lambda: other.kinds)
    assert rung.kinds == []


def stand_still(seconds: float) -> None:
    """Nothing of this process goes on, as when it was stopped."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_what_came_while_the_process_stood_still_has_come_in_time() -> None:
    rung = Rung()
    watch = rung.watch(10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = await asyncio.open_connection(sock=ours)

        async def read() -> bytes:
            data = await reader.read(1)
            watch.expect(FailureKind.STALLED, 10)
            return data

        reading = asyncio.create_task(read())
        watch.expect(FailureKind.STALLED, 0.1)
        await asyncio.sleep(0)
        theirs.send(b"x")
        stand_still(0.2)
        assert await reading == b"x"
        assert rung.kinds == []
        watch.expect(FailureKind.STALLED, 0.02)
        stand_still(0.2)
        await eventually(lambda: rung.kinds == [FailureKind.STALLED])
        watch.stop()
        writer.close()
