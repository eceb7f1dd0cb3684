"""The edge's server: what of HTTP/1.1 it takes, what it refuses, and how the refusal reads."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.support.eventually import eventually
from tests.support.serving import Served, client, exchange, request, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(max_header=4096, max_headers=32, max_body=100_000) as made:
        yield made


def _raw(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("latin-1")


SMUGGLED = {
    "a length and chunks": "content-length: 5\ntransfer-encoding: chunked\n\n0\n\n",
    "chunks and a length": "transfer-encoding: chunked\ncontent-length: 5\n\n0\n\n",
    "two lengths": "content-length: 5\ncontent-length: 6\n\nhello",
    "the same length twice": "content-length: 5\ncontent-length: 5\n\nhello",
    "a list of lengths": "content-length: 5, 5\n\nhello",
    "a length with a sign": "content-length: +5\n\nhello",
    "a negative length": "content-length: -5\n\nhello",
    "a length in hexadecimal": "content-length: 0x5\n\nhello",
    "a length with a space inside": "content-length: 5 0\n\nhello",
    "a length beyond 64 bits": "content-length: 99999999999999999999999\n\nhello",
    "no length": "content-length: \n\nhello",
    "a transfer coding that is none": "transfer-encoding: xchunked\n\n0\n\n",
    "chunked and something after it": "transfer-encoding: chunked, identity\n\n0\n\n",
    "chunked before another line": "transfer-encoding: chunked\ntransfer-encoding: identity\n\n0\n\n",
    "chunks with a tab before the name": "transfer-encoding:\x0bchunked\n\n0\n\n",
    "a space before the colon": "transfer-encoding : chunked\n\n0\n\n",
    "a folded header": "x: a\n b\n\n",
    "a header without a colon": "nonsense\n\n",
    "a null in a header": "x: a\x00b\n\n",
    "a bare carriage return in a header": "x: a\rtransfer-encoding: chunked\n\n",
    "a chunk size with a sign": "transfer-encoding: chunked\n\n+5\nhello\n0\n\n",
    "a chunk size that is no number": "transfer-encoding: chunked\n\nzz\nhello\n0\n\n",
    "a chunk size beyond 64 bits": "transfer-encoding: chunked\n\nfffffffffffffffff\nhello\n0\n\n",
    "a chunk longer than its size": "transfer-encoding: chunked\n\n3\nhello\n0\n\n",
    "two hosts": "host: other\n\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED)
async def test_a_request_that_two_readers_may_read_differently_is_refused_and_the_connection_closed(
    served: Served, rest: str
) -> None:
    async with client(served.port) as one:
        await one.send(_raw(f"POST /echo HTTP/1.1\nhost: edge\n{rest}") + request("/smuggled"))
        answer = await one.answer()
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert answer.error["type"] == "invalid_request_error"
        assert await one.closed()
    assert "/smuggled" not in [path for path, _ in served.asked]


async def test_lines_that_end_in_a_bare_line_feed_are_refused(served: Served) -> None:
    assert (await exchange(served.port, b"POST /echo HTTP/1.1\nhost: edge\ncontent-length: 0\n\n")).status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /echo HTTP/1.1\r\n\r\n", 400),
        (b"GET /echo HTTP/0.9\r\nhost: edge\r\n\r\n", 505),
        (b"BREW /echo HTTP/1.1\r\nhost: edge\r\n\r\n", 400),
        (b"CONNECT edge:443 HTTP/1.1\r\nhost: edge\r\n\r\n", 501),
        (b"GET /%s HTTP/1.1\r\nhost: edge\r\n\r\n" % (b"x" * 9_000), 431),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nhost: edge\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_for_us_is_told_so(served: Served, data: bytes, status: int) -> None:
    answer = await exchange(served.port, data)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.error["message"]
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_target_that_is_too_long_is_told_so() -> None:
    async with serving() as served:
        answer = await exchange(served.port, request(f"/{'x' * 9_000}"))
    assert (answer.status, answer.error["code"]) == (414, "uri_too_long")


async def test_errors_of_the_server_have_the_shape_of_the_api_they_are_meant_for(served: Served) -> None:
    answer = await exchange(served.port, b"POST /v1/messages HTTP/1.1\r\nanthropic-version: 2023-06-01\r\n\r\n")
    told = json.loads(answer.body)
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert told["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "head",
    [
        request("/echo", b"", f"x: {'a' * 5_000}"),
        request("/echo", b"", *[f"x-{index}: a" for index in range(40)]),
        b"POST /echo HTTP/1.1\r\nhost: edge\r\nx: " + b"a" * 400_000,
        b"POST /echo HTTP/1.1\r\nhost: edge\r\n" + b"x: a\r\n" * 100_000,
        b"POST /" + b"a" * 400_000,
    ],
    ids=["one long", "many", "one without an end", "many without an end", "a target without an end"],
)
async def test_headers_beyond_their_bounds_are_refused(served: Served, head: bytes) -> None:
    answer = await exchange(served.port, head)
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")
    assert not served.asked


async def test_headers_that_come_byte_by_byte_are_read(served: Served) -> None:
    async with client(served.port) as one:
        for byte in request("/echo", b"hello"):
            await one.send(bytes([byte]))
        assert (await one.answer()).body == b"/echo hello"


async def test_requests_follow_one_another_on_a_connection(served: Served) -> None:
    async with client(served.port) as one:
        for index in range(3):
            await one.send(request("/echo", b"%d" % index))
            assert (await one.answer()).body == b"/echo %d" % index


async def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/wait", b"0") + b"".join(request("/echo", b"%d" % index) for index in range(1, 5)))
        await eventually(lambda: served.asked)
        served.go.set()
        assert [(await one.answer()).body[-1:] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_more_pipelined_requests_than_may_wait_end_the_connection_behind_the_first_answer(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/wait", b"0") + request("/echo", b"1") * 1_000)
        await eventually(lambda: served.asked)
        served.go.set()
        assert (await one.answer()).body == b"/wait 0"
        assert await one.closed()
    assert [path for path, _ in served.asked] == ["/wait"]


async def test_what_is_wrong_with_a_later_request_is_no_answer_to_an_earlier_one(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/wait", b"0") + b"nonsense\r\n\r\n")
        await eventually(lambda: served.asked)
        served.go.set()
        assert (await one.answer()).body == b"/wait 0"
        assert await one.closed()


async def test_a_client_that_goes_while_another_request_waits_behind_is_noticed(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/wait") + request("/echo"))
        await eventually(lambda: served.asked)
    await eventually(lambda: served.gone == 1 and not served.server.requests)
    assert [path for path, _ in served.asked] == ["/wait"]


async def test_http_1_0_is_answered_whole_and_closed(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(b"POST /echo HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello")
        answer = await one.answer()
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"/echo hello", "close")
        assert await one.closed()


async def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection(served: Served) -> None:
    served.go.set()
    answer = await exchange(served.port, request("/stream", version="1.0"))
    assert (answer.body, answer.ended) == (b"one\n\ntwo\n\n", "closed")
    assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("body", [b"", b"hello"])
async def test_an_offer_to_change_the_protocol_is_declined_and_the_request_answered(
    served: Served, protocol: str, body: bytes
) -> None:
    offer = ("connection: Upgrade, HTTP2-Settings", f"upgrade: {protocol}", "http2-settings: AAMAAABkAAQCAAAA")
    async with client(served.port) as one:
        for _ in range(2):
            await one.send(request("/echo", body, *offer))
            answer = await one.answer()
            assert (answer.status, answer.body) == (200, b"/echo " + body)


async def test_a_client_that_waits_to_be_told_to_go_on_is_told_so(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/echo", b"", "expect: 100-continue").replace(b"length: 0", b"length: 5"))
        assert await one.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await one.send(b"hello")
        assert (await one.answer()).body == b"/echo hello"


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(served: Served) -> None:
    head = request("/echo", b"", "expect: 100-continue").replace(b"length: 0", b"length: 100001")
    assert (await exchange(served.port, head)).status == 413


async def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(_raw("POST /echo HTTP/1.1\nhost: edge\ntransfer-encoding: chunked\n\n"))
        for _ in range(5):
            await one.send(b"7530\r\n" + bytes(0x7530) + b"\r\n")
        answer = await one.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


async def test_a_client_that_is_still_sending_can_read_why_it_is_refused(served: Served) -> None:
    async with client(served.port) as one:
        await one.send(request("/unread", bytes(3_000_000)))
        assert (await one.answer()).status == 401
        await one.send(request("/echo", b"again"))
        assert (await one.answer()).body == b"/echo again"


# -- packed bodies


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("x-gzip", gzip.compress(b"hello", mtime=0)),
        ("GZIP", gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("identity", b"hello"),
    ],
)
async def test_packed_bodies_are_unpacked(served: Served, coding: str, data: bytes) -> None:
    answer = await exchange(served.port, request("/echo", data, f"content-encoding: {coding}"))
    assert answer.body == b"/echo hello"


async def test_a_bomb_is_refused_at_the_limit_of_a_body(served: Served) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(80)) + packer.flush()
    assert len(bomb) < 100_000
    answer = await exchange(served.port, request("/echo", bomb, "content-encoding: gzip"))
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "data", [gzip.compress(b"hello", mtime=0)[:-3], b"hello", gzip.compress(b"hello", mtime=0) + b"more"]
)
async def test_what_does_not_unpack_is_refused(served: Served, data: bytes) -> None:
    answer = await exchange(served.port, request("/echo", data, "content-encoding: gzip"))
    assert (answer.status, answer.error["code"]) == (400, "invalid_encoding")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_a_coding_that_is_not_read_is_refused_with_those_that_are(served: Served, coding: str) -> None:
    answer = await exchange(served.port, request("/echo", b"hello", f"content-encoding: {coding}"))
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
