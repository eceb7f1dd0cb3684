"""How every bus stores: one message or a batch, what it refuses and what follows; in memory and over NATS alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runtime.bus.port import (
    Ack,
    AlreadyStored,
    BusError,
    Message,
    OutcomeUnknown,
    Outgoing,
    Refused,
    StreamFull,
    TooLarge,
    WrongSequence,
)
from tests.support.broker import unique
from tests.support.buses import Scene, headers_of, stored
from tests.support.eventually import eventually

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_ROLLUP = "Nats-Rollup"
SECOND = 1_000_000_000


# -- appending


async def test_appends_are_stored_in_order_and_numbered(scene: Scene) -> None:
    stream = await scene.stream()
    acks = [await scene.bus.append(scene.on("a"), bytes([number])) for number in range(5)]
    assert acks == [Ack(stream, number) for number in range(1, 6)]
    assert [(await scene.bus.get(stream, seq)).data for seq in range(1, 6)] == [bytes([number]) for number in range(5)]


async def test_headers_come_back_as_they_were_given(scene: Scene) -> None:
    stream = await scene.stream()
    given = {"Ticket": '{"lane":"rt","tags":{"a":"ü €"}}', "Empty": "", "Colon": "a: b"}
    await scene.bus.append(scene.on("a"), b"body", headers=given)
    for message in (await scene.bus.get(stream, 1), await scene.bus.last(stream, scene.on("a"))):
        assert {key: headers_of(message)[key] for key in given} == given
        assert message.data == b"body"


async def test_only_the_first_create_wins(scene: Scene) -> None:
    await scene.stream(max_msgs_per_subject=1)
    outcomes = await asyncio.gather(
        *(
            bus.append(scene.on("one"), str(number).encode(), expect_last=0)
            for number, bus in enumerate([scene.bus, scene.other] * 10)
        ),
        return_exceptions=True,
    )
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Ack)]
    assert len(won) == 1
    assert all(isinstance(outcome, WrongSequence) for outcome in outcomes if not isinstance(outcome, Ack))
    assert (await scene.bus.last(scene.name, scene.on("one"))).data == str(won[0]).encode()


async def test_an_expected_sequence_is_compared_and_the_present_one_is_named(scene: Scene) -> None:
    await scene.stream()
    first = await scene.bus.append(scene.on("a"), b"1")
    await scene.bus.append(scene.on("b"), b"other subject")
    second = await scene.bus.append(scene.on("a"), b"2", expect_last=first.seq)
    with pytest.raises(WrongSequence) as refused:
        await scene.bus.append(scene.on("a"), b"3", expect_last=first.seq)
    assert refused.value.last_seq == second.seq
    assert refused.value.code == 10071
    with pytest.raises(WrongSequence) as refused:
        await scene.bus.append(scene.on("c"), b"", expect_last=7)
    assert refused.value.last_seq == 0


async def test_a_subject_that_holds_its_one_message_refuses_a_second_until_it_is_deleted(scene: Scene) -> None:
    stream = await scene.stream(max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    ack = await scene.bus.append(scene.on("job"), b"first")
    with pytest.raises(AlreadyStored):
        await scene.bus.append(scene.on("job"), b"second")
    assert (await scene.bus.last(stream, scene.on("job"))).data == b"first"
    assert await scene.bus.delete(stream, ack.seq)
    assert (await scene.bus.append(scene.on("job"), b"again")).seq == ack.seq + 1


async def test_without_that_rule_a_subject_keeps_its_newest_message(scene: Scene) -> None:
    stream = await scene.stream(max_msgs_per_subject=1)
    await scene.bus.append(scene.on("a"), b"old")
    await scene.bus.append(scene.on("a"), b"new")
    state = await scene.bus.stream_state(stream)
    assert (state.messages, state.first_seq, state.last_seq) == (1, 2, 2)


async def test_a_full_stream_refuses_and_takes_more_once_there_is_room(scene: Scene) -> None:
    stream = await scene.stream(discard="new", max_msgs=2)
    await scene.bus.append(scene.on("a"), b"")
    await scene.bus.append(scene.on("b"), b"")
    with pytest.raises(StreamFull):
        await scene.bus.append(scene.on("c"), b"")
    assert await scene.bus.delete(stream, 1)
    assert (await scene.bus.append(scene.on("c"), b"")).seq == 3


async def test_a_stream_full_of_bytes_refuses(scene: Scene) -> None:
    await scene.stream(discard="new", max_bytes=2_000)
    await scene.bus.append(scene.on("a"), b"x" * 1_000)
    with pytest.raises(StreamFull):
        await scene.bus.append(scene.on("b"), b"x" * 1_000)


async def test_a_stream_that_discards_old_ones_makes_room(scene: Scene) -> None:
    stream = await scene.stream(max_msgs=2)
    for number in range(4):
        await scene.bus.append(scene.on(f"s{number}"), b"")
    state = await scene.bus.stream_state(stream, subjects=">")
    assert state.subjects == {scene.on("s2"): 1, scene.on("s3"): 1}


async def test_a_message_over_the_streams_own_limit_is_too_large(scene: Scene) -> None:
    await scene.stream(max_msg_size=100)
    with pytest.raises(TooLarge):
        await scene.bus.append(scene.on("a"), b"x" * 200)
    await scene.bus.append(scene.on("a"), b"x" * 50)


async def test_a_subject_without_a_stream_has_an_unknown_outcome(scene: Scene) -> None:
    with pytest.raises(OutcomeUnknown):
        await scene.bus.append(f"{unique('nowhere')}.a", b"")


async def test_a_plain_publish_to_a_stream_is_stored_as_well(scene: Scene) -> None:
    stream = await scene.stream()
    await scene.bus.publish(scene.on("a"), b"token")
    await eventually(lambda: stored(scene.bus, stream, 1))


async def test_a_time_to_live_needs_a_stream_that_allows_it(scene: Scene) -> None:
    await scene.stream()
    with pytest.raises(Refused):
        await scene.bus.append(scene.on("a"), b"", ttl=5)


async def test_an_expired_message_is_gone_and_its_subject_free_again(scene: Scene) -> None:
    stream = await scene.stream(allow_msg_ttl=True)
    await scene.bus.append(scene.on("a"), b"short", ttl=1, expect_last=0)
    await scene.bus.append(scene.on("b"), b"long", ttl=600, expect_last=0)
    with pytest.raises(WrongSequence):  # the other may have expired by now, if nobody was let run
        await scene.bus.append(scene.on("b"), b"", expect_last=0)
    await eventually(lambda: stored(scene.bus, stream, 1), within=6)
    assert (await scene.bus.append(scene.on("a"), b"next", expect_last=0)).seq == 3


# -- batches


def batch(scene: Scene, fence: int, *rest: str) -> Sequence[Outgoing]:
    lease = Outgoing(scene.on("lease"), b"lease", {H_EXPECTED: str(fence), H_ROLLUP: "sub"})
    return [lease, *(Outgoing(scene.on(one), one.encode()) for one in rest)]


async def fenced(scene: Scene) -> str:
    return await scene.stream(allow_atomic=True, allow_rollup_hdrs=True, discard="new", max_msgs=20)


async def test_a_batch_is_stored_whole_contiguous_and_in_order(scene: Scene) -> None:
    stream = await fenced(scene)
    await scene.bus.append(scene.on("before"), b"")
    ack = await scene.bus.append_batch(batch(scene, 0, "x", "y", "z"))
    assert (ack.seq, ack.count) == (5, 4)
    held = [await scene.bus.get(stream, seq) for seq in range(2, 6)]
    assert [message.subject for message in held] == [scene.on(one) for one in ("lease", "x", "y", "z")]
    renewed = await scene.bus.append_batch(batch(scene, ack.seq - ack.count + 1, "w"))
    assert renewed.seq == 7
    assert (await scene.bus.stream_state(stream, subjects=scene.on("lease"))).subjects == {scene.on("lease"): 1}


async def test_a_batch_with_a_stale_fence_is_refused_whole(scene: Scene) -> None:
    stream = await fenced(scene)
    first = await scene.bus.append_batch(batch(scene, 0, "x"))
    taken = await scene.other.append(
        scene.on("lease"), b"theirs", headers={H_ROLLUP: "sub"}, expect_last=first.seq - first.count + 1
    )
    with pytest.raises(WrongSequence):
        await scene.bus.append_batch(batch(scene, first.seq - first.count + 1, "y", "z"))
    state = await scene.bus.stream_state(stream, subjects=">")
    assert state.subjects == {scene.on("lease"): 1, scene.on("x"): 1}
    assert (await scene.bus.last(stream, scene.on("lease"))).seq == taken.seq


async def test_a_batch_that_would_overfill_the_stream_is_refused_whole(scene: Scene) -> None:
    stream = await fenced(scene)
    with pytest.raises(StreamFull):
        await scene.bus.append_batch(batch(scene, 0, *(f"m{number}" for number in range(25))))
    assert (await scene.bus.stream_state(stream)).messages == 0


async def test_a_guard_inside_a_batch_refuses_the_whole_batch(scene: Scene) -> None:
    stream = await fenced(scene)
    await scene.bus.append(scene.on("taken"), b"")
    guarded = [*batch(scene, 0, "x"), Outgoing(scene.on("taken"), b"", {H_EXPECTED: "0"})]
    with pytest.raises(WrongSequence):
        await scene.bus.append_batch(guarded)
    assert (await scene.bus.stream_state(stream)).messages == 1


async def test_a_batch_of_the_largest_size_is_stored_and_a_larger_one_is_a_mistake(scene: Scene) -> None:
    await scene.stream(allow_atomic=True)
    messages = [Outgoing(scene.on(f"m.{number}"), b"x" * 100) for number in range(1_000)]
    assert (await scene.bus.append_batch(messages)).count == 1_000
    for wrong in ([*messages, messages[0]], messages[:1]):
        with pytest.raises(ValueError, match="a batch holds 2 to 1000 messages"):
            await scene.bus.append_batch(wrong)


async def test_a_stream_without_batches_refuses_one(scene: Scene) -> None:
    stream = await scene.stream()
    with pytest.raises(BusError):
        await scene.bus.append_batch([Outgoing(scene.on("a"), b""), Outgoing(scene.on("b"), b"")])
    assert (await scene.bus.stream_state(stream)).messages == 0


# -- republishing and rewriting


async def test_a_stored_message_is_republished_with_its_place(scene: Scene) -> None:
    live = unique("live")
    await scene.stream(
        subjects=[f"{scene.name}.res.*.*"],
        republish={"src": f"{scene.name}.res.*.*", "dest": f"{live}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.res"},
    )
    heard: list[Message] = []
    await scene.other.subscribe(f"{live}.>", heard.append)
    await scene.bus.append(scene.on("res.p.j"), b"one", headers={"Own": "h"})
    await scene.bus.append(scene.on("res.p.j"), b"two")
    await eventually(lambda: len(heard) == 2)
    assert [message.subject for message in heard] == [f"{live}.p.j.res"] * 2
    assert [message.data for message in heard] == [b"one", b"two"]
    assert headers_of(heard[0])["Own"] == "h"
    assert [headers_of(message)["Nats-Sequence"] for message in heard] == ["1", "2"]
    assert [headers_of(message)["Nats-Last-Sequence"] for message in heard] == ["0", "1"]


async def test_a_refused_message_is_not_republished(scene: Scene) -> None:
    live = unique("live")
    await scene.stream(
        subjects=[f"{scene.name}.*"], republish={"src": f"{scene.name}.*", "dest": f"{live}.{{{{wildcard(1)}}}}"}
    )
    heard: list[bytes] = []
    await scene.other.subscribe(f"{live}.>", lambda message: heard.append(message.data))
    await scene.bus.append(scene.on("a"), b"won", expect_last=0)
    with pytest.raises(WrongSequence):
        await scene.bus.append(scene.on("a"), b"lost", expect_last=0)
    await scene.bus.append(scene.on("b"), b"end")
    await eventually(lambda: heard == [b"won", b"end"])


async def test_a_submission_is_stored_on_the_subject_it_is_rewritten_to(scene: Scene) -> None:
    stream = await scene.stream(
        subjects=[f"{scene.name}.in.*.*", f"{scene.name}.barrier.>"],
        subject_transform={
            "src": f"{scene.name}.in.*.*",
            "dest": f"{scene.name}.q.0.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}",
        },
        discard="new",
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
    )
    heard: list[str] = []
    tail = await scene.bus.tail(stream, lambda message: heard.append(message.subject), subjects=[scene.on("q.0.>")])
    await scene.bus.append(scene.on("in.p.j"), b"")
    with pytest.raises(AlreadyStored):
        await scene.bus.append(scene.on("in.p.j"), b"")
    assert (await scene.bus.append(scene.on("barrier.0.1"), b"")).seq == 2
    assert await tail.caught_up(2, timeout=5)
    assert heard == [scene.on("q.0.p.j")]
    assert (await scene.bus.last(stream, scene.on("q.0.p.j"))).seq == 1
