"""Recorded answers cut, changed and mixed up: no reader raises, and what was not whole is no answer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import encode
from job_contracts.failures import Failure
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from tests.support.examples import examples
from tests.support.strategies_plain import json_values
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

pytestmark = needs_recordings

SMALL = 2_500
LONGEST = 30_000
"""Bytes of the recordings that are changed: longer ones hold the same kinds of events."""


@cache
def answers(*, streamed: bool) -> list[Exchange]:
    return [
        exchange
        for exchange in exchanges()
        if exchange.status < 300 and not exchange.is_failure and exchange.is_stream is streamed
    ]


def outcome(exchange: Exchange, pieces: Sequence[bytes]) -> Decoded | Failure:
    decoder = DIALECTS[exchange.dialect].decoder(exchange.target, content_type=exchange.headers.get("content-type", ""))
    for piece in pieces:
        for delta in decoder.feed(piece):
            encode(delta)
        assert decoder.partial.output_characters >= 0
    found = decoder.finish()
    encode(found.answer if isinstance(found, Decoded) else found)
    return found


def cut(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The body in pieces that end at these places."""
    places = [0, *sorted(min(at, len(body)) for at in cuts), len(body)]
    return [body[places[at] : places[at + 1]] for at in range(len(places) - 1)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_small_streams_cut_in_two_at_every_byte_are_the_same(dialect: str) -> None:
    small = sorted((x for x in answers(streamed=True) if x.dialect == dialect), key=lambda x: len(x.body))[:3]
    for exchange in small:
        body = exchange.body[:SMALL] if len(exchange.body) > SMALL else exchange.body
        whole = outcome(exchange, [body])
        for at in range(len(body)):
            assert outcome(exchange, [body[:at], body[at:]]) == whole, (exchange.id, at)


def test_every_stream_cut_anywhere_is_the_same() -> None:
    chance = random.Random(7)
    for exchange in answers(streamed=True):
        whole = outcome(exchange, [exchange.body])
        for _ in range(5):
            cuts = [chance.randrange(len(exchange.body)) for _ in range(chance.randrange(1, 30))]
            assert outcome(exchange, cut(exchange.body, cuts)) == whole, (exchange.id, cuts)


def test_a_document_without_its_last_bytes_is_never_an_answer() -> None:
    chance = random.Random(7)
    for exchange in answers(streamed=False):
        body = exchange.body.rstrip()
        for kept in {0, 1, len(body) // 2, len(body) - 1, *(chance.randrange(len(body)) for _ in range(10))}:
            assert isinstance(outcome(exchange, [body[:kept]]), Failure), (exchange.id, kept)


def test_a_stream_that_ends_at_any_byte_is_the_whole_answer_or_a_failure() -> None:
    """What is missing behind the end of an answer may be its usage, but never a word of it."""
    chance = random.Random(7)
    for exchange in answers(streamed=True):
        whole = outcome(exchange, [exchange.body])
        for kept in (chance.randrange(len(exchange.body)) for _ in range(6)):
            found = outcome(exchange, [exchange.body[:kept]])
            if isinstance(found, Decoded):
                assert isinstance(whole, Decoded), (exchange.id, kept)
                assert found.answer == whole.answer, (exchange.id, kept)


# -- changed at random: the same outcome however it is cut, and never an exception

everything = st.deferred(lambda: st.sampled_from([x for x in exchanges() if x.status < 300]))
streams = st.deferred(
    lambda: st.sampled_from(
        [x for x in answers(streamed=True) if len(x.body) <= LONGEST and x.format != "aws-eventstream"]
    )
)
"""Those in text: frames have checksums, and tests of their own."""
documents = st.deferred(lambda: st.sampled_from([x for x in answers(streamed=False) if len(x.body) <= LONGEST]))
places = st.lists(st.integers(0, LONGEST), max_size=8)


def the_same_however_it_is_cut(exchange: Exchange, body: bytes, cuts: Sequence[int]) -> Decoded | Failure:
    whole = outcome(exchange, [body])
    assert outcome(exchange, cut(body, cuts)) == whole, exchange.id
    return whole


@examples(200)
@given(data=st.data(), cuts=places)
def test_recordings_with_bytes_changed_moved_and_mixed_never_make_a_reader_raise(
    data: st.DataObject, cuts: list[int]
) -> None:
    exchange = data.draw(everything)
    body = bytearray(exchange.body[:20_000])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        match data.draw(st.integers(0, 3)):
            case 0:
                body[at : at + 1] = data.draw(st.binary(min_size=1, max_size=4))
            case 1:
                del body[at : at + data.draw(st.integers(1, 500))]
            case 2:
                body[at:at] = body[at : at + data.draw(st.integers(1, 500))]
            case _:
                other = data.draw(everything).body
                body[at:at] = other[: data.draw(st.integers(1, 2_000))]
    the_same_however_it_is_cut(exchange, bytes(body), cuts)


def events_of(exchange: Exchange) -> tuple[list[bytes], bytes]:
    """The events of a text stream and what ends each."""
    body = exchange.body.replace(b"\r\n", b"\n")
    end = b"\n" if body.lstrip()[:1] == b"{" else b"\n\n"
    return [event for event in body.split(end) if event.strip()], end


@examples(200)
@given(data=st.data(), exchange=streams, cuts=places)
def test_streams_with_events_lost_repeated_and_out_of_order(
    data: st.DataObject, exchange: Exchange, cuts: list[int]
) -> None:
    events, end = events_of(exchange)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(events) - 1))
        to = data.draw(st.integers(0, len(events) - 1))
        match data.draw(st.integers(0, 2)):
            case 0 if len(events) > 1:
                del events[at]
            case 1:
                events.insert(to, events[at])
            case _:
                events[at], events[to] = events[to], events[at]
    the_same_however_it_is_cut(exchange, end.join(events) + end, cuts)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before, *(path for key, item in items for path in paths(item, (*before, key)))]


def replaced(value: Any, path: Sequence[Any], new: Any) -> Any:
    """The value with another one at this place."""
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def nested(depth: int, shape: str) -> str:
    """JSON of some depth, as text: Python would not write it."""
    return {"{": '{"a":', "[": "["}[shape] * depth + "1" + {"{": "}", "[": "]"}[shape] * depth


HOLE = "\ue000hole"
values = json_values.map(json.dumps) | st.sampled_from(
    [
        nested(150, "{"),
        nested(150, "["),
        nested(100_000, "["),
        "1" + "0" * 400,
        "1" + "0" * 6_000,
        "-1e999",
        "NaN",
        "1e-999",
        str(2**63),
        '"\\ud83d"',
        '"' + "x" * 100_000 + '"',
        '"\\u0000"',
        "true",
        '""',
        "{}",
        "[[]]",
    ]
)
"""JSON text that may stand at any place: of any type, and at the edges of what readers of JSON take."""


def with_value(text: str, path: Sequence[Any], new: str) -> str:
    return json.dumps(replaced(json.loads(text), path, HOLE)).replace(json.dumps(HOLE), new)


@examples(200)
@given(data=st.data(), exchange=documents, new=values, cuts=places)
def test_documents_with_any_value_at_any_place(
    data: st.DataObject, exchange: Exchange, new: str, cuts: list[int]
) -> None:
    document = json.loads(exchange.body)
    body = with_value(exchange.body.decode(), data.draw(st.sampled_from(paths(document))), new)
    the_same_however_it_is_cut(exchange, body.encode(), cuts)


@examples(200)
@given(data=st.data(), exchange=streams, new=values, cuts=places)
def test_streams_with_any_value_at_any_place(
    data: st.DataObject, exchange: Exchange, new: str, cuts: list[int]
) -> None:
    events, end = events_of(exchange)
    at = data.draw(st.integers(0, len(events) - 1))
    before, brace, rest = events[at].decode().partition("{")
    try:
        chunk = json.loads(brace + rest)
    except ValueError:  # a comment, or what ends the stream
        return
    new_chunk = with_value(brace + rest, data.draw(st.sampled_from(paths(chunk))), new)
    events[at] = (before + new_chunk).encode()
    the_same_however_it_is_cut(exchange, end.join(events) + end, cuts)
