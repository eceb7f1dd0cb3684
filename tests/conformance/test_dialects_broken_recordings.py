"""Recorded answers cut, changed and mixed up: no reader raises, and what was not whole is no answer."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.codec import encode
from job_contracts.failures import Failure
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

pytestmark = needs_recordings

SMALL = 2_500


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
            cuts = sorted(chance.randrange(len(exchange.body)) for _ in range(chance.randrange(1, 30)))
            places = [0, *cuts, len(exchange.body)]
            pieces = [exchange.body[places[at] : places[at + 1]] for at in range(len(places) - 1)]
            assert outcome(exchange, pieces) == whole, (exchange.id, cuts)


def test_a_document_without_its_last_bytes_is_never_an_answer() -> None:
    chance = random.Random(7)
    for exchange in answers(streamed=False):
        body = exchange.body.rstrip()
        for kept in {0, 1, len(body) // 2, len(body) - 1, *(chance.randrange(len(body)) for _ in range(10))}:
            assert isinstance(outcome(exchange, [body[:kept]]), Failure), (exchange.id, kept)


@settings(max_examples=300)
@given(data=st.data(), size=st.integers(1, 5_000))
def test_recordings_with_bytes_changed_moved_and_mixed_never_make_a_reader_raise(
    data: st.DataObject, size: int
) -> None:
    everything = [x for x in exchanges() if x.status < 300]
    exchange = data.draw(st.sampled_from(everything))
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
                other = data.draw(st.sampled_from(everything)).body
                body[at:at] = other[: data.draw(st.integers(1, 2_000))]
    changed = bytes(body)
    outcome(exchange, [changed[at : at + size] for at in range(0, len(changed), size)])
