"""AWS's frames, cut and damaged in every way; botocore's own parser is the judge of what is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.failures import Failure, FailureKind
from tests.support.strategies_plain import json_values
from tests.unit.dialects.samples import STREAMS, decoder, frame
from workers.dialects.eventstream import BROKEN, EXCEPTION, TOO_LARGE, Frames
from workers.dialects.port import Decoded

MEDIA = "application/vnd.amazon.eventstream"
K = FailureKind


def fed(body: bytes, size: int, **how: int) -> list[tuple[str, bytes]]:
    frames = Frames(**how)
    return [event for at in range(0, len(body), size) for event in frames.feed(body[at : at + size])]


def outcome(body: bytes, size: int = 1_000_000, **options: Any) -> Decoded | Failure:
    reader = decoder("bedrock", content_type=MEDIA, **options)
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    return reader.finish()


@pytest.mark.parametrize("size", [1, 2, 7, 11, 12, 13, 64, 10_000])
def test_frames_are_read_as_botocore_reads_them_however_they_are_cut(size: int) -> None:
    body = STREAMS["bedrock"]
    judge = EventStreamBuffer()
    judge.add_data(body)
    wanted = [(event.headers[":event-type"], event.payload) for event in judge]
    assert fed(body, size) == wanted
    assert len(wanted) == 6


def test_headers_of_every_type_are_passed_over() -> None:
    block = b"".join(
        bytes([1]) + b"a" + bytes([kind]) + value
        for kind, value in [
            (0, b""),
            (1, b""),
            (2, b"x"),
            (3, b"xx"),
            (4, b"xxxx"),
            (5, b"x" * 8),
            (6, b"\x00\x02\xff\xff"),
            (8, b"x" * 8),
            (9, b"x" * 16),
        ]
    )
    plain = frame("messageStart", {})
    size = int.from_bytes(plain[4:8], "big")
    assert fed(_made(block + plain[12 : 12 + size], b'{"a": 1}'), 5) == [("messageStart", b'{"a": 1}')]


def _made(block: bytes, body: bytes, *, said: int | None = None) -> bytes:
    import zlib

    lengths = (len(block) + len(body) + 16).to_bytes(4, "big") + (len(block) if said is None else said).to_bytes(
        4, "big"
    )
    head = lengths + zlib.crc32(lengths).to_bytes(4, "big") + block + body
    return head + zlib.crc32(head).to_bytes(4, "big")


@pytest.mark.parametrize(
    "damaged",
    [
        _made(b"\x05ab", b"{}"),
        _made(b"\x01a\x63", b"{}"),
        _made(b"\x01a\x07\xff\xff", b"{}"),
        _made(b"\x01\xff\x07\x00\x00", b"{}"),
        _made(b"", b"{}", said=500),
        bytes(16),
    ],
)
def test_a_frame_that_does_not_fit_together_ends_the_stream(damaged: bytes) -> None:
    for size in (1, 7, 1000):
        events = fed(frame("messageStart", {}) + damaged + frame("messageStop", {}), size)
        assert [name for name, _ in events] == ["messageStart", BROKEN]
        assert json.loads(events[-1][1])["message"]


def test_a_frame_beyond_the_bound_is_refused_by_its_first_bytes() -> None:
    lengths = (50_000_000).to_bytes(4, "big") + bytes(4)
    import zlib

    start = lengths + zlib.crc32(lengths).to_bytes(4, "big")
    assert [name for name, _ in fed(start, 12)] == [TOO_LARGE]
    found = outcome(start)
    assert isinstance(found, Failure)
    assert found.kind is K.RESPONSE_TOO_LARGE


@pytest.mark.parametrize("at", range(0, len(STREAMS["bedrock"]), 3))
@pytest.mark.parametrize("size", [7, 10_000])
def test_a_flipped_bit_is_found_by_a_checksum_and_never_becomes_part_of_an_answer(at: int, size: int) -> None:
    body = bytearray(STREAMS["bedrock"])
    body[at] ^= 0x10
    found = outcome(bytes(body), size)
    if isinstance(found, Decoded):  # in the frame after the last of the answer, which holds the usage
        assert found.answer.text == "Héllo 👋"
        assert not found.usage.reported
    else:
        assert found.kind in {K.MALFORMED_RESPONSE, K.STREAM_TRUNCATED, K.RESPONSE_TOO_LARGE}


@settings(max_examples=200)
@given(data=st.data(), size=st.integers(1, 300), new=json_values)
def test_events_with_any_value_in_whole_frames_never_make_the_reader_raise(
    data: st.DataObject, size: int, new: object
) -> None:
    names = [
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
        "",
    ]
    events = data.draw(st.lists(st.tuples(st.sampled_from(names), json_values), max_size=4))
    body = b"".join(frame(name, value) for name, value in [*events, ("contentBlockDelta", new)])
    assert isinstance(outcome(body + STREAMS["bedrock"][:40], size), Failure)


@settings(max_examples=200)
@given(rubbish=st.binary(max_size=200), size=st.integers(1, 50))
def test_rubbish_after_a_beginning_is_no_answer(rubbish: bytes, size: int) -> None:
    start = frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})
    assert isinstance(outcome(start + rubbish, size), Failure)


@pytest.mark.parametrize(
    ("kind", "told", "expected"),
    [
        ("throttlingException", "Too many requests, please wait before trying again.", K.RATE_LIMIT),
        ("throttlingException", "Too many tokens per day, please wait before trying again.", K.QUOTA_EXHAUSTED),
        ("serviceUnavailableException", "Try again.", K.OVERLOADED),
        ("internalServerException", "The system encountered an unexpected error.", K.SERVER_ERROR),
        ("modelStreamErrorException", "An error occurred while streaming the response.", K.SERVER_ERROR),
        ("modelTimeoutException", "The request took too long to process.", K.SERVER_ERROR),
        ("validationException", "Something is wrong.", K.BAD_REQUEST),
        ("validationException", "Input is too long for requested model.", K.CONTEXT_OVERFLOW),
    ],
)
def test_exceptions_in_a_stream_are_failures_of_their_kind(kind: str, told: str, expected: FailureKind) -> None:
    start = frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})
    found = outcome(start + frame(kind, {"message": told}, kind="exception"), 7)
    assert isinstance(found, Failure)
    assert (found.kind, found.code, found.produced) == (expected, kind, True)
    assert told in found.message


def test_an_error_without_a_payload_says_what_its_headers_say() -> None:
    headers = {":error-code": "InternalError", ":error-message": "It broke."}
    body = frame("x", b"", kind="error", **headers)
    assert fed(body, 9) == [(f"{EXCEPTION}InternalError", b'{"code":"InternalError","message":"It broke."}')]
    found = outcome(body)
    assert isinstance(found, Failure)
    assert (found.kind, found.code) == (K.SERVER_ERROR, "InternalError")
