"""What the bus's client cuts out of the bytes it reads, and the bytes it writes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol import command

from runtime.bus.wire import Arrival, WireClient, heard_by, read_headers

WORDS = st.from_regex(r"\A[a-z]{1,4}(\.[a-z]{1,4}){0,3}\Z")
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=12)
HEADERS = st.dictionaries(st.from_regex(r"\A[A-Za-z-]{1,8}\Z"), VALUES, max_size=3)
MESSAGES = st.tuples(WORDS, st.integers(1, 3), WORDS | st.just(""), HEADERS | st.none(), st.binary(max_size=40))
OTHERS = st.sampled_from([b"PING\r\n", b"+OK\r\n", b"PONG\r\n", b'INFO {"server_id":"a"}\r\n'])


class Subscribed:
    """As much of a subscription as is looked at."""

    def __init__(self, sid: int, heard: list[tuple[int, Arrival]]) -> None:
        self._cb = heard_by(lambda arrival: heard.append((sid, arrival)))


class Pinged(WireClient):
    """A client that is connected to nothing and counts what the library is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, Arrival]] = []
        self.pings = 0
        self._subs = cast("Any", {sid: Subscribed(sid, self.heard) for sid in (1, 2)})

    async def _process_ping(self) -> None:
        self.pings += 1

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        pass


def block(headers: dict[str, str]) -> bytes:
    return b"NATS/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode() + b"\r\n"


def wired(message: tuple[str, int, str, dict[str, str] | None, bytes]) -> bytes:
    subject, sid, reply, headers, data = message
    start = " ".join(part for part in (subject, str(sid), reply) if part)
    if headers is None:
        return f"MSG {start} {len(data)}\r\n".encode() + data + b"\r\n"
    raw = block(headers)
    return f"HMSG {start} {len(raw)} {len(raw) + len(data)}\r\n".encode() + raw + data + b"\r\n"


@given(st.lists(MESSAGES | OTHERS, max_size=12), st.data())
def test_messages_are_told_whole_and_in_order_however_they_are_cut(sent: list[Any], data: st.DataObject) -> None:
    wire = b"".join(one if isinstance(one, bytes) else wired(one) for one in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    async def read() -> Pinged:
        client = Pinged()
        for piece in pieces:
            await client._ps.parse(piece)
        return client

    client = asyncio.run(read())
    expected = [one for one in sent if not isinstance(one, bytes) and one[1] in (1, 2)]
    told = [(a.subject, sid, a.reply, dict(a.headers) if a.headers else None, a.data) for sid, a in client.heard]
    assert told == [(*one[:3], one[3] or None, one[4]) for one in expected]
    assert client.pings == sent.count(b"PING\r\n")
    assert client.stats["in_msgs"] == sum(not isinstance(one, bytes) for one in sent)


@pytest.mark.parametrize("line", [b"MSG a x 3\r\nabc\r\n", b"MSG a\r\n", b"HMSG a 1 x 3\r\nabc\r\n", b"NONSENSE\r\n"])
async def test_what_is_no_protocol_ends_the_connection(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        await Pinged()._ps.parse(line)


@pytest.mark.parametrize(
    ("odd", "told"), [(b"a.\xff\xfe", "a.\\xff\\xfe"), (b"a.\x0b\x0cb", "a.\x0b\x0cb"), (b"a.\x85", "a.\\x85")]
)
async def test_a_subject_that_is_no_text_ends_nothing(odd: bytes, told: str) -> None:
    client = Pinged()
    await client._ps.parse(b"MSG " + odd + b" 1 1\r\nx\r\nMSG b 1 " + odd + b" 1\r\ny\r\n")
    assert [(arrival.subject, arrival.reply, arrival.data) for _, arrival in client.heard] == [
        (told, "", b"x"),
        ("b", told, b"y"),
    ]


async def test_half_a_message_is_forgotten_with_its_connection() -> None:
    client = Pinged()
    await client._ps.parse(b"MSG a 1 10\r\nabc")
    client._ps.reset()
    await client._ps.parse(b"MSG b 1 1\r\nx\r\n")
    assert [arrival.subject for _, arrival in client.heard] == ["b"]


@given(WORDS, WORDS | st.just(""), HEADERS, st.binary(max_size=40))
def test_a_message_is_written_as_the_library_writes_it(
    subject: str, reply: str, headers: dict[str, str], data: bytes
) -> None:
    async def write() -> bytes:
        client = WireClient()
        client.hand_over(subject, data, reply, headers or None)
        assert client.pending_data_size == len(b"".join(client._pending))
        return b"".join(client._pending)

    if headers:
        assert asyncio.run(write()) == command.hpub_cmd(subject, reply, block(headers), data)
    else:
        assert asyncio.run(write()) == command.pub_cmd(subject, reply, data)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 10\r\nNats-Last-Stream:\t24\r\n\r\n",
            {
                "Status": "100",
                "Description": "Idle Heartbeat",
                "Nats-Last-Consumer": "10",
                "Nats-Last-Stream": "24",
            },
        ),
        (b"NATS/1.0\r\nA:b:c\r\nno colon\r\nD: \xff\r\n\r\n", {"A": "b:c", "D": "\ufffd"}),
        (b"NATS/1.0\r\n\r\n", {}),
    ],
)
def test_headers_and_the_broker_s_remarks(raw: bytes, found: dict[str, str]) -> None:
    assert read_headers(raw) == found
    arrival = Arrival("a", "", b"", raw)
    assert (arrival.headers, arrival.status) == (found or None, found.get("Status", ""))
    assert not Arrival("a", "", b"data", raw).status
