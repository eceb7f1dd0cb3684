"""The work of a reader is bounded by the bytes it is given, and an answer without its end is none."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.failures import Failure
from tests.support.examples import examples
from tests.unit.dialects.samples import DOCUMENTS, STREAMS, decoder
from workers.dialects.port import Decoded

every_dialect = pytest.mark.parametrize("dialect", tuple(STREAMS))

SIZE, TIMES = 10_000, 8

BODIES: dict[str, Callable[[int], bytes]] = {
    "one line without an end": lambda size: b"data: " + b"x" * size,
    "one object without an end": lambda size: b'{"a": "' + b"x" * size,
    "nothing but opening brackets": lambda size: b"{" + b"[" * size,
    "line ends": lambda size: b"data: {}" + b"\r\n" * (size // 2),
    "carriage returns": lambda size: b":" + b"\r" * size,
    "comments": lambda size: b": ping\n\n" * (size // 8),
    "an event of many lines": lambda size: b"data: 1\n" * (size // 8),
    "names of events": lambda size: b"event: a\n" * (size // 9),
    "zeros": bytes,
    "blanks": lambda size: b" \n" * (size // 2),
}


def least_seconds(dialect: str, body: bytes, size: int) -> float:
    def once() -> float:
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        reader = decoder(dialect, content_type="text/event-stream")
        start = time.process_time()
        for piece in pieces:
            reader.feed(piece)
        reader.finish()
        return time.process_time() - start

    return min(once() for _ in range(2))


@every_dialect
@pytest.mark.parametrize("what", BODIES)
def test_reading_takes_time_in_proportion_to_the_bytes_however_small_their_pieces(dialect: str, what: str) -> None:
    small, large = (least_seconds(dialect, BODIES[what](size), 3) for size in (SIZE, SIZE * TIMES))
    # Square work would take 64 times as long.
    assert large < max(small, 0.002) * TIMES * 3, f"{small:.4f} s and {large:.4f} s"


@every_dialect
@examples(60)
@given(kept=st.data(), size=st.integers(1, 200))
def test_a_stream_without_its_last_event_is_no_answer_whatever_else_is_missing(
    dialect: str, kept: st.DataObject, size: int
) -> None:
    end = b"\n" if dialect == "ollama" else b"\n\n"
    events = [event for event in STREAMS[dialect].split(end) if event]
    before = events[: next((at for at, event in enumerate(events) if any(word in event for word in ENDS)), 0)]
    chosen = kept.draw(st.lists(st.sampled_from(before), max_size=10)) if before else []
    body = b"".join(event + end for event in chosen)
    reader = decoder(dialect, content_type="text/event-stream")
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    assert isinstance(reader.finish(), Failure)


ENDS = (b'"finish_reason": "', b'"stop_reason": "', b'"finishReason"', b"message-end", b'"done": true', b"completed")
"""What only an event that ends an answer holds."""


@every_dialect
def test_an_answer_stays_what_it_was_however_often_it_is_asked_for(dialect: str) -> None:
    for body in (STREAMS[dialect], DOCUMENTS[dialect]):
        reader = decoder(dialect, content_type="")
        reader.feed(body)
        first = reader.finish()
        assert isinstance(first, Decoded)
        assert reader.finish() is first
