"""The one place where calls leave for a provider, and where whatever breaks on the way gets the name of a failure.

Credentials go to the provider's own origin only, redirects are not followed, an answer's size is bounded. ::

    upstream = Upstream(transport, row, credentials(row, key))
    reply = await upstream.send(encoded, attempt_id=…, connect=5.0)     # raises CallFailed
    while data := await reply.read(): …                                 # raises CallFailed
    await reply.close()
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

import httpx

from catalogue.rows import ProviderRow
from job_contracts.failures import Failure, FailureKind
from workers.auth import BadOrigin, origin
from workers.dialects.batches.port import Call
from workers.dialects.port import Encoded
from workers.signing import NotSigned, Signer
from workers.transport import AiohttpTransport, Answer

__all__ = ["CallFailed", "Reply", "Upstream"]

REQUEST_ID = "x-penstock-attempt"
_PLAIN = {"accept-encoding": "identity"}
_MAX_PATHS = 4096

_BEFORE_HEADERS: tuple[tuple[type[httpx.TransportError], FailureKind, str], ...] = (
    (httpx.ConnectTimeout, FailureKind.CONNECT, "the provider did not accept the connection in time"),
    (httpx.ConnectError, FailureKind.CONNECT, "no connection to the provider"),
    (httpx.PoolTimeout, FailureKind.CONNECT, "no connection to the provider was free in time"),
    (httpx.ProxyError, FailureKind.CONNECT, "no connection to the provider through the proxy"),
    (httpx.UnsupportedProtocol, FailureKind.CONNECT, "the provider's address cannot be used"),
    (httpx.RemoteProtocolError, FailureKind.MALFORMED_RESPONSE, "the provider's answer is not HTTP"),
    (httpx.TransportError, FailureKind.RESET, "the connection was lost before the provider answered"),
)
_IN_BODY: tuple[tuple[type[httpx.TransportError], FailureKind, str], ...] = (
    (httpx.RemoteProtocolError, FailureKind.STREAM_TRUNCATED, "the provider's answer ended before it was complete"),
    (httpx.TransportError, FailureKind.RESET, "the connection was lost while the answer came"),
)


class CallFailed(Exception):
    """The call broke on the way; ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind.value)
        self.failure = failure


_Table = tuple[tuple[type[httpx.TransportError], FailureKind, str], ...]


def _named(error: httpx.TransportError, table: _Table) -> CallFailed:
    """The first row that fits; of the error itself only the type is told, its text may hold addresses."""
    kind, words = next((kind, words) for there, kind, words in table if isinstance(error, there))
    return CallFailed(Failure(kind=kind, message=f"{words} ({type(error).__name__})"))


class Reply:
    """An answer whose headers have come. ``max_bytes``: how large its body may be."""

    __slots__ = ("_chunks", "_headers", "_max_bytes", "_response", "_size")

    def __init__(self, response: httpx.Response | Answer, max_bytes: int) -> None:
        self._response = response
        self._max_bytes, self._size = max_bytes, 0
        self._headers: Mapping[str, str] | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def content_type(self) -> str:
        return str(self._response.headers.get("content-type", ""))

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers with lower-case names; made when first asked for, because most answers' are never looked at."""
        if self._headers is None:
            response = self._response
            headers = response.headers if isinstance(response, httpx.Response) else httpx.Headers(response.raw)
            self._headers = dict(headers.items())
        return self._headers

    async def read(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises CallFailed when it breaks or grows too large."""
        if self._chunks is None:
            self._chunks = self._begin()
        try:
            data = await anext(self._chunks, b"")
        except httpx.TransportError as error:
            raise _named(error, _IN_BODY) from error
        except httpx.DecodingError as error:
            words = "the provider's answer cannot be decompressed"
            raise CallFailed(Failure(kind=FailureKind.MALFORMED_RESPONSE, message=words)) from error
        self._size += len(data)
        if self._size > self._max_bytes:
            words = f"the provider's answer is larger than {self._max_bytes} bytes"
            raise CallFailed(Failure(kind=FailureKind.RESPONSE_TOO_LARGE, message=words))
        return data

    def _begin(self) -> AsyncIterator[bytes]:
        response = self._response
        if "content-encoding" in response.headers:  # although we asked for none
            return (response if isinstance(response, httpx.Response) else response.full()).aiter_bytes()
        return aiter(cast("httpx.AsyncByteStream", response.stream))

    async def close(self) -> None:
        """Give the connection back if the answer has come to its end, else close it, so that the provider stops."""
        await cast("httpx.AsyncByteStream", self._response.stream).aclose()


class Upstream:
    """Sends requests to one provider."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        row: ProviderRow,
        credentials: Mapping[str, str],
        *,
        signer: Signer | None = None,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """``signer``: makes further headers for each request. ``max_bytes``: how large an answer may be.

        Raises BadOrigin if the row's base URL is none.
        """
        self._transport = transport
        self._signer = signer
        self.max_bytes = max_bytes
        self._base = row.base_url.rstrip("/")
        self._origin = origin(self._base)
        self._headers = {**{name.lower(): value for name, value in row.headers.items()}, **credentials}
        self._forms: dict[tuple[tuple[str, str], ...], list[tuple[str, str]]] = {}
        self._urls: dict[str, httpx.URL] = {}

    async def send(self, encoded: Encoded, *, attempt_id: str, connect: float) -> Reply:
        """Send the request, once; returns when the answer's headers have come. Raises CallFailed."""
        url, body = self._url(encoded.path), encoded.body
        headers = [
            ("host", url.netloc.decode("ascii")),
            *self._common(encoded.headers),
            ("content-length", str(len(body))),
            (REQUEST_ID, attempt_id),
        ]
        if self._signer is not None:
            try:
                headers += _texts(await self._signer.headers(url, _raw(headers), body))
            except NotSigned as error:
                raise CallFailed(error.failure) from error
        try:
            if isinstance(self._transport, AiohttpTransport):
                return Reply(await self._transport.post(url, headers, body, connect=connect), self.max_bytes)
            # A ready stream instead of ``content``: the request need not be prepared, all its headers are here.
            request = httpx.Request(
                "POST",
                url,
                headers=_raw(headers),
                stream=httpx.ByteStream(body),
                extensions={"timeout": {"connect": connect}},
            )
            return Reply(await self._transport.handle_async_request(request), self.max_bytes)
        except httpx.TransportError as error:
            raise _named(error, _BEFORE_HEADERS) from error

    def withdraw(self, attempt_id: str) -> bool:
        """The attempt is stopped; whether its request had not left, although it was handed over."""
        return False

    async def fetch(self, call: Call, *, connect: float) -> Reply:
        """A call that is no attempt's, to a batch API; its answer may be of any size. Raises CallFailed."""
        url = self._url(call.path)
        headers = [
            ("host", url.netloc.decode("ascii")),
            *self._common(call.headers),
            ("content-length", str(len(call.body))),
        ]
        request = httpx.Request(
            call.method,
            url,
            headers=_raw(headers),
            stream=httpx.ByteStream(call.body),
            extensions={"timeout": {"connect": connect}},
        )
        try:
            return Reply(await self._transport.handle_async_request(request), sys.maxsize)
        except httpx.TransportError as error:
            raise _named(error, _BEFORE_HEADERS) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._signer is not None:
            await self._signer.close()
        await self._transport.aclose()

    def _common(self, own: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers that are the same for every request of one form: ours, the credential's, the dialect's."""
        key = tuple(own.items())
        common = self._forms.get(key)
        if common is None:
            if len(self._forms) >= _MAX_PATHS:
                self._forms.clear()
            merged = {**self._headers, **{name.lower(): value for name, value in own.items()}, **_PLAIN}
            common = list(merged.items())
            _raw(common)  # what cannot be sent is refused here
            self._forms[key] = common
        return common

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            address = self._base + path
            if not path.startswith("/") or origin(address) != self._origin:
                message = "a request's path leaves the provider's origin"
                raise BadOrigin(message)
            if len(self._urls) >= _MAX_PATHS:
                self._urls.clear()
            url = self._urls[path] = httpx.URL(address)
        return url


def _raw(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in headers]
