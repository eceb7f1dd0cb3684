"""The one way out: what is sent where, and the names of what breaks."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from pydantic import SecretStr

from catalogue.rows import ProviderRow
from job_contracts.failures import FailureKind
from workers.auth import BadCredential, BadOrigin, credentials, origin
from workers.dialects.port import Encoded
from workers.http import CallFailed, Reply, Upstream

ROW = ProviderRow(
    name="alpha",
    dialect="openai_chat",
    base_url="https://api.example/v1",
    auth={"Authorization": "Bearer {key}"},
    headers={"X-Version": "1"},
)
ENCODED = Encoded(path="/chat", headers={"Content-Type": "application/json"}, body=b'{"a": 1}')


class Taking(httpx.AsyncBaseTransport):
    """Keeps the request and answers, or raises, as told."""

    def __init__(self, answer: Callable[[], httpx.Response] | httpx.TransportError) -> None:
        self.answer = answer
        self.request: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        if isinstance(self.answer, httpx.TransportError):
            raise self.answer
        return self.answer()


class Pieces(httpx.AsyncByteStream):
    """Bytes in pieces, then an end or an error."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces, self.error, self.closed = pieces, error, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        self.closed = True


def upstream(
    answer: Callable[[], httpx.Response] | httpx.TransportError, max_bytes: int = 1024 * 1024
) -> tuple[Upstream, Taking]:
    taking = Taking(answer)
    return Upstream(taking, ROW, credentials(ROW, SecretStr("sk-1")), max_bytes=max_bytes), taking


async def send(made: Upstream, encoded: Encoded = ENCODED) -> Reply:
    return await made.send(encoded, attempt_id="stem-1.1", connect=3.0)


async def body(reply: Reply) -> bytes:
    parts = []
    while data := await reply.read():
        parts.append(data)
    return b"".join(parts)


async def test_a_request_has_the_rows_the_credentials_and_the_dialects_headers_once() -> None:
    made, taking = upstream(lambda: httpx.Response(200, content=b"x"))
    await send(made)
    request = taking.request
    assert request is not None
    assert str(request.url) == "https://api.example/v1/chat"
    assert dict(request.headers) == {
        "host": "api.example",
        "x-version": "1",
        "authorization": "Bearer sk-1",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "content-length": "8",
        "x-penstock-attempt": "stem-1.1",
    }
    assert request.read() == ENCODED.body
    assert request.extensions["timeout"] == {"connect": 3.0}


@pytest.mark.parametrize("path", ["@evil.example/", ".evil.example/", "", "\\evil", ":8080/x", "chat"])
async def test_a_path_that_could_leave_the_origin_is_refused(path: str) -> None:
    made, taking = upstream(lambda: httpx.Response(200))
    with pytest.raises(BadOrigin):
        await send(made, Encoded(path=path, headers={}, body=b""))
    assert taking.request is None


async def test_a_path_with_two_slashes_stays_at_the_host() -> None:
    made, taking = upstream(lambda: httpx.Response(200, content=b""))
    await send(made, Encoded(path="//evil.example/", headers={}, body=b""))
    assert taking.request is not None
    assert taking.request.url.host == "api.example"


@pytest.mark.parametrize("url", ["", "api.example", "ftp://api.example", "https://", "https://me:pw@api.example"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadOrigin):
        origin(url)


def test_an_origin_has_its_port_whether_it_is_written_or_not() -> None:
    assert origin("https://a.example/v1") == origin("https://a.example:443") == ("https", "a.example", 443)


@pytest.mark.parametrize("key", ["sk-9\r\nx: y", "sk-9\nb", "sk-9ü", "sk-9\x00", " sk-9", "sk-9 "])
def test_a_key_that_cannot_be_a_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadCredential) as refused:
        credentials(ROW, SecretStr(key))
    assert "sk-9" not in str(refused.value)


def test_without_a_key_no_header_is_sent() -> None:
    assert credentials(ROW, SecretStr("")) == {}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectTimeout("sk-1"), FailureKind.CONNECT),
        (httpx.ConnectError("sk-1"), FailureKind.CONNECT),
        (httpx.PoolTimeout("sk-1"), FailureKind.CONNECT),
        (httpx.ProxyError("sk-1"), FailureKind.CONNECT),
        (httpx.UnsupportedProtocol("sk-1"), FailureKind.CONNECT),
        (httpx.RemoteProtocolError("sk-1"), FailureKind.MALFORMED_RESPONSE),
        (httpx.ReadError("sk-1"), FailureKind.RESET),
        (httpx.WriteError("sk-1"), FailureKind.RESET),
        (httpx.ReadTimeout("sk-1"), FailureKind.RESET),
        (httpx.CloseError("sk-1"), FailureKind.RESET),
    ],
)
async def test_what_breaks_before_an_answer_has_a_name_and_tells_no_text(
    error: httpx.TransportError, kind: FailureKind
) -> None:
    made, _ = upstream(error)
    with pytest.raises(CallFailed) as failed:
        await send(made)
    assert failed.value.failure.kind is kind
    assert "sk-1" not in failed.value.failure.message
    assert type(error).__name__ in failed.value.failure.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.RemoteProtocolError("cut"), FailureKind.STREAM_TRUNCATED),
        (httpx.ReadError("reset"), FailureKind.RESET),
    ],
)
async def test_what_breaks_in_the_body_has_a_name(error: httpx.TransportError, kind: FailureKind) -> None:
    made, _ = upstream(lambda: httpx.Response(200, stream=Pieces(b"abc", error=error)))
    reply = await send(made)
    assert await reply.read() == b"abc"
    with pytest.raises(CallFailed) as failed:
        await reply.read()
    assert failed.value.failure.kind is kind


async def test_a_body_is_bounded() -> None:
    made, _ = upstream(lambda: httpx.Response(200, stream=Pieces(b"x" * 600, b"x" * 600)), max_bytes=1000)
    reply = await send(made)
    await reply.read()
    with pytest.raises(CallFailed) as failed:
        await reply.read()
    assert failed.value.failure.kind is FailureKind.RESPONSE_TOO_LARGE


async def test_a_compressed_body_is_read_though_it_was_not_asked_for() -> None:
    packed = {"content-encoding": "gzip"}
    made, _ = upstream(lambda: httpx.Response(200, headers=packed, stream=Pieces(gzip.compress(b"hello"))))
    assert await body(await send(made)) == b"hello"


async def test_a_body_that_does_not_decompress_is_malformed() -> None:
    made, _ = upstream(lambda: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Pieces(b"plain")))
    reply = await send(made)
    with pytest.raises(CallFailed) as failed:
        await reply.read()
    assert failed.value.failure.kind is FailureKind.MALFORMED_RESPONSE


async def test_a_compressed_body_is_bounded_by_what_it_becomes() -> None:
    bomb = gzip.compress(b"x" * 5_000_000)
    packed = {"content-encoding": "gzip"}
    made, _ = upstream(lambda: httpx.Response(200, headers=packed, stream=Pieces(bomb)), max_bytes=100_000)
    reply = await send(made)
    with pytest.raises(CallFailed) as failed:
        await body(reply)
    assert failed.value.failure.kind is FailureKind.RESPONSE_TOO_LARGE


async def test_headers_are_found_by_lower_case_names() -> None:
    made, _ = upstream(lambda: httpx.Response(200, headers={"Retry-After": "3"}, content=b""))
    assert (await send(made)).headers["retry-after"] == "3"


async def test_closing_a_reply_closes_its_stream() -> None:
    stream = Pieces(b"abc")
    made, _ = upstream(lambda: httpx.Response(200, stream=stream))
    await (await send(made)).close()
    assert stream.closed
