"""A client that comes back with the id of any event gets exactly the rest, or is told that there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from gateway.bodies.asked import Asked
from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.frames import Frame, Renderer
from gateway.bodies.joining import Diverged, Policy
from gateway.bodies.openai_chat import Rendering
from gateway.bodies.places import Lost
from gateway.bodies.rendition import Rendition
from job_contracts.jobs import JobState
from job_contracts.results import Result
from job_contracts.stream import Finished, StreamEvent
from tests.support.stories import Heard, Story, stories

policies = st.sampled_from(["continue", "hold", "error", "as_it_is"])
Blocks = list[tuple[str, str]]
"""Events of a stream: id and everything else."""


class Plain:
    """Renders every event as two frames of itself: the event, and a full stop."""

    def begin(self, jobs: Sequence[str]) -> None: ...

    def event(self, index: int, event: StreamEvent) -> Iterable[Frame]:
        if event.type not in {"queued", "started"}:
            yield Frame(to_json({"index": index, "event": None if isinstance(event, Finished) else event}))
            yield Frame(b'{"stop":%d}' % index)

    def end(self, results: tuple[Result, ...]) -> Iterable[Frame]:
        return [Frame(b'{"end":1}'), Frame(b'{"end":2}')]

    def failed(self, error: ApiError) -> Iterable[Frame]:
        return []


def chat() -> Renderer:
    return Rendering(Asked("fast", ()), 1)


def rendered(
    make: Callable[[], Renderer],
    policy: Policy,
    events: Iterable[tuple[int, StreamEvent]],
    *,
    answers: int = 1,
    seen: str = "",
) -> tuple[Blocks, str]:
    """What goes over the wire, and how it ended: ``whole``, ``diverged``, ``lost``, ``failed``."""
    rendition = Rendition(make(), policy, answers, seen)
    data: list[bytes] = []
    try:
        for index, event in events:
            if isinstance(event, Finished) and event.result.state is not JobState.SUCCEEDED:
                return _blocks(data), "failed"
            data.append(rendition.take([f"job-{n}" for n in range(answers)], index, event))
            if rendition.complete:
                data.append(rendition.end())
    except Diverged:
        return _blocks(data), "diverged"
    except Lost:
        return _blocks(data), "lost"
    return _blocks(data), "whole"


def _blocks(data: list[bytes]) -> Blocks:
    found: Blocks = []
    for block in b"".join(data).decode().split("\n\n")[:-1]:
        named = re.search(r"^id: (.*)$", block, re.MULTILINE)
        found.append((named.group(1) if named else "", re.sub(r"^id: .*\n", "", block, flags=re.MULTILINE)))
    return found


@given(stories(), policies, st.sampled_from([Plain, chat]))
def test_every_id_is_followed_by_exactly_the_rest(story: Story, policy: Policy, make: Callable[[], Renderer]) -> None:
    events = [(0, event) for event in story.told()]
    whole, ended = rendered(make, policy, events)
    ids = [place for place, _ in whole]
    assert len(set(ids)) == len(ids)
    for at, place in enumerate(ids):
        if place:
            assert rendered(make, policy, events, seen=place) == (whole[at + 1 :], ended)


def _merged(told: list[list[StreamEvent]], draw: st.DataObject) -> list[tuple[int, StreamEvent]]:
    """The events of several answers in an arbitrary order, each answer's own in theirs."""
    queues = [[(index, event) for event in events] for index, events in enumerate(told)]
    merged = []
    while left := [queue for queue in queues if queue]:
        merged.append(left[draw.draw(st.integers(0, len(left) - 1))].pop(0))
    return merged


@given(st.lists(stories(), min_size=2, max_size=3), policies, st.data())
def test_several_answers_may_come_in_another_order_each_time(
    several: list[Story], policy: Policy, data: st.DataObject
) -> None:
    told = [story.told() for story in several]
    first, ended = rendered(Plain, policy, _merged(told, data), answers=len(told))
    if ended != "whole":
        return
    whole = sorted(block for _, block in first)
    places = [at for at, (place, _) in enumerate(first) if place]
    cut = data.draw(st.sampled_from(places))
    second, ended = rendered(Plain, policy, _merged(told, data), answers=len(told), seen=first[cut][0])
    assert ended == "whole"
    assert sorted(block for _, block in [*first[: cut + 1], *second]) == whole
    if second:  # and again, from anywhere in what came then
        again = data.draw(st.integers(0, len(second) - 1))
        third, ended = rendered(Plain, policy, _merged(told, data), answers=len(told), seen=second[again][0])
        assert ended == "whole"
        assert sorted(block for _, block in [*first[: cut + 1], *second[: again + 1], *third]) == whole


@given(stories(), st.sampled_from(["continue", "hold", "error"]), st.data())
def test_what_is_read_over_two_connections_is_no_splice_either_whatever_chunks_were_lost(
    story: Story, policy: Policy, data: st.DataObject
) -> None:
    keeping = st.lists(st.booleans(), min_size=len(story.chunks), max_size=len(story.chunks))
    first, _ = rendered(Plain, policy, [(0, event) for event in story.told(data.draw(keeping))])
    ids = [at for at, (place, _) in enumerate(first) if place]
    if not ids:
        return
    cut = data.draw(st.sampled_from(ids))
    second, ended = rendered(
        Plain, policy, [(0, event) for event in story.told(data.draw(keeping))], seen=first[cut][0]
    )
    reader = _read([*first[: cut + 1], *second])
    assert any(reader.begins(attempt) for attempt in story.attempts)
    if ended == "whole":
        assert reader == story.attempts[-1]


def _read(blocks: Blocks) -> Heard:
    reader = Heard()
    for _, block in blocks:
        told = from_json(block.removeprefix("data: ")).get("event")
        if told is not None:
            kind = {"token": "text", "reasoning": "reasoning"}.get(told["type"])
            if kind:
                setattr(reader, kind, getattr(reader, kind) + told["text"])
            elif told["type"] == "tool_call":
                said = (told["id"] or "") + told["arguments"]
                reader.calls[told["index"]] = reader.calls.get(told["index"], "") + said
    return reader


@pytest.mark.parametrize("seen", ["x", "1", "1:2,", "1:2,1:3,1:4", "1:2:3:4", "-1:2", "1:" + "9" * 40, "1:2\n"])
def test_an_id_that_cannot_be_is_refused(seen: str) -> None:
    with pytest.raises(Failed) as caught:
        Rendition(chat(), "continue", seen=seen)
    assert caught.value.error.status == 400


@given(stories())
def test_an_id_that_is_not_there_gets_nothing(story: Story) -> None:
    events = [(0, event) for event in story.told()]
    for seen in ("1:999", "9:1", "1:999r"):
        blocks, ended = rendered(chat, "hold", events, seen=seen)
        assert not blocks
        assert ended in {"lost", "failed"}
