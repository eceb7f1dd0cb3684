"""The NATS protocol, as it is written and read, whatever way the socket cuts it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.frames import encode_message, parse_headers
from runtime.bus.port import BusError, Outgoing, TooLarge
from runtime.bus.wire import Arrival, Wire

STREAM = (
    b'INFO {"max_payload": 4096, "connect_urls": ["10.0.0.1:4222"]}\r\n'
    b"PING\r\n"
    b"MSG news 1 5\r\nhello\r\n"
    b"+OK\r\n"
    b"MSG news.deep 1 _INBOX.x 0\r\n\r\n"
    b"HMSG news 1 _INBOX.y 32 34\r\nNATS/1.0\r\nKey: a: b\r\nOther:c\r\n\r\nhi\r\n"
    b"HMSG _INBOX.z 1 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n"
    b"MSG unknown 9 2\r\n\r\n\r\n"
    b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"
    b"MSG news 1 2\r\n\r\n\r\n"
    b"PONG\r\n"
)
HEARD = [
    ("news", "", b"hello", None, ""),
    ("news.deep", "_INBOX.x", b"", None, ""),
    ("news", "_INBOX.y", b"hi", {"Key": "a: b", "Other": "c"}, ""),
    ("_INBOX.z", "", b"", {"Description": "No Messages"}, "404"),
    ("news", "", b"\r\n", None, ""),
]


class Socket(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True


def run(pieces: list[bytes]) -> tuple[list[Arrival], list[str], Wire, Socket]:
    """What a connection hears, and which permissions it was refused, when these pieces arrive."""
    heard: list[Arrival] = []
    refused: list[str] = []

    async def arrive() -> tuple[Wire, Socket]:
        wire, socket = Wire(lambda _wire, _reason: None, refused.append), Socket()
        wire.connection_made(socket)
        wire.subscribe("news.>", heard.append)
        for piece in pieces:
            wire.data_received(piece)
        await asyncio.sleep(0)
        return wire, socket

    wire, socket = asyncio.run(arrive())
    return heard, refused, wire, socket


def told(heard: list[Arrival]) -> list[tuple[Any, ...]]:
    return [(one.subject, one.reply, one.data, one.headers, one.status) for one in heard]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_means_the_same_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[first:last] for first, last in pairwise(places)]
    heard, refused, wire, socket = run([piece for piece in pieces if piece])
    assert told(heard) == HEARD
    assert refused == ['Permissions Violation for Publish to "x"']
    assert wire.max_payload == 4096
    assert wire.servers == ("nats://10.0.0.1:4222",)
    assert wire.ready.done()
    assert socket.written == b"SUB news.>  1\r\nPONG\r\n"


@pytest.mark.parametrize(
    "nonsense", [b"HELLO\r\n", b"MSG news 1 x\r\n", b"MSG\r\n", b"INFO {\r\n", b"x" * 2_000_000, b"\xff\xff\r\n"]
)
def test_what_is_not_the_protocol_ends_the_connection(nonsense: bytes) -> None:
    heard, _, wire, socket = run([b"MSG news 1 1\r\na\r\n", nonsense])
    assert [one.data for one in heard] == [b"a"]
    assert wire.lost
    assert socket.aborted


def test_a_message_is_written_with_its_size_and_its_headers() -> None:
    assert encode_message("a.b", "", b"xyz", None, 100) == b"PUB a.b  3\r\nxyz\r\n"
    assert encode_message("a.b", "r", b"", {}, 100) == b"PUB a.b r 0\r\n\r\n"
    encoded = encode_message("a", "r", b"xyz", {"Key": "ü"}, 100)
    assert encoded == "HPUB a r 21 24\r\nNATS/1.0\r\nKey: ü\r\n\r\nxyz\r\n".encode()


@given(
    st.dictionaries(
        st.from_regex(r"\A[A-Za-z-]{1,20}\Z"),
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=30),
        max_size=5,
    ),
    st.binary(max_size=50),
)
def test_headers_are_read_as_they_were_written(headers: dict[str, str], data: bytes) -> None:
    encoded = encode_message("a", "r", data, headers, 10_000)
    line, _, rest = encoded.partition(b"\r\n")
    if not headers:
        assert line == b"PUB a r %d" % len(data)
        return
    head, size = map(int, line.split()[-2:])
    assert len(rest) == size + 2
    assert parse_headers(rest[:head]) == (headers, "")
    assert rest[head:size] == data


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "a\tb", "a\x00", "a\u2028b"])
def test_a_subject_that_could_be_read_as_something_else_is_refused(subject: str) -> None:
    with pytest.raises(BusError):
        encode_message(subject, "", b"", None, 100)


@pytest.mark.parametrize(
    "headers",
    [{"": "x"}, {"A B": "x"}, {"A:": "x"}, {"A\r\nB": "x"}, {"A": "x\r\nB: y"}, {"A": "x\ny"}, {"A": "\r"}, {"Ä": "x"}],
)
def test_a_header_that_could_be_read_as_something_else_is_refused(headers: dict[str, str]) -> None:
    encode_message("a", "", b"", {"A": "known by now"}, 100)
    with pytest.raises(BusError):
        encode_message("a", "", b"", headers, 100)


def test_the_limit_counts_headers_and_their_frame() -> None:
    encode_message("a", "", b"x" * 80, {"Key": "v"}, 80 + 12 + 8)
    with pytest.raises(TooLarge):
        encode_message("a", "", b"x" * 80, {"Key": "v"}, 80 + 12 + 7)
    with pytest.raises(TooLarge):
        encode_message("a", "", b"x" * 101, None, 100)


async def test_a_batch_leaves_whole_or_not_at_all() -> None:
    wire, socket = Wire(lambda _wire, _reason: None, lambda _: None), Socket()
    wire.connection_made(socket)
    ahead = [Outgoing("a", b"1"), Outgoing("b", b"x" * 2_000_000)]
    with pytest.raises(TooLarge):
        wire.publish("c", b"", "r", None, ahead)
    await asyncio.sleep(0)
    assert socket.written == b""
    wire.publish("c", b"", "r", None, ahead[:1])
    await asyncio.sleep(0)
    assert socket.written == b"PUB a  1\r\n1\r\nPUB c r 0\r\n\r\n"


async def test_a_handler_that_fails_does_not_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(lambda _wire, _reason: None, lambda _: None)
    wire.connection_made(Socket())
    heard: list[bytes] = []

    def hear(arrival: Arrival) -> None:
        heard.append(arrival.data)
        raise RuntimeError

    wire.subscribe("a", hear)
    wire.data_received(b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n")
    assert heard == [b"x", b"y"]
    assert not wire.lost
    assert "bus.handler" in caplog.text


async def test_a_full_socket_makes_publishers_wait_until_it_has_room_or_is_lost() -> None:
    for end in ("room", "lost"):
        wire = Wire(lambda _wire, _reason: None, lambda _: None)
        wire.connection_made(Socket())
        wire.pause_writing()
        assert wire.congested
        waiting = asyncio.create_task(wire.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        if end == "room":
            wire.resume_writing()
        else:
            wire.connection_lost(None)
        await waiting
        assert not wire.congested
