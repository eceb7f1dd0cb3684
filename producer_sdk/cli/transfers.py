"""Files to the HTTP edge and back: an upload that is streamed, a content that is read from any byte on."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from producer_sdk.cli.edge import TIMEOUT, ask, refused
from producer_sdk.errors import InvalidRequest, QueueFull, Unreachable

PIECE = 256 * 1024
"""Bytes that are read or sent at once."""
TRIES = 10
"""Times a question is asked that may be asked again: for about a minute."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries."""
NOTHING_THERE = 416
"""The status of a range that begins where the content ends."""


class Gateway:
    """One address and one key. Every method raises the SDK's errors."""

    def __init__(self, url: str, key: str | None) -> None:
        place = urlsplit(url)
        if place.scheme not in {"http", "https"} or not place.hostname:
            raise InvalidRequest(f"url: {url!r} is no HTTP address", field="url", remedy="write http://127.0.0.1:8400")
        self._secure = place.scheme == "https"
        self._host, self._port = place.hostname, place.port
        self._prefix = place.path.rstrip("/").removesuffix("/v1")
        self._base = f"{place.scheme}://{place.netloc}{self._prefix}"
        self._key = key or ""

    def ask(self, method: str, path: str, body: Any = None, *, patient: bool = False) -> dict[str, Any]:
        """One question, its JSON answer. ``patient``: asked again for a minute while the gateway is away or busy."""
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES if patient else 1)):
            try:
                return ask(self._base, method, path, self._key, body)
            except (Unreachable, QueueFull):
                if not left:
                    raise
            rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError

    def upload(self, file: Path, purpose: str, tell: Callable[[int], None]) -> str:
        """Send a file; its id. ``tell`` hears how many bytes are sent."""
        boundary = secrets.token_hex(16)
        name = file.name.replace('"', "_")
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--{boundary}\r\n'
            f'content-disposition: form-data; name="file"; filename="{name}"\r\n'
            "content-type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        try:
            with file.open("rb") as content:
                size = len(head) + file.stat().st_size + len(tail)
                kind = f"multipart/form-data; boundary={boundary}"
                headers = {"content-type": kind, "content-length": str(size)}

                def pieces() -> Iterator[bytes]:
                    yield head
                    while data := content.read(PIECE):
                        yield data
                        tell(len(data))
                    yield tail

                with self._asked("POST", "/v1/files", headers, pieces()) as answer:
                    return str(json.loads(answer.read())["id"])
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be read: {error}", field="file", remedy="name a file") from error

    def content(self, file: str, start: int) -> Iterator[bytes]:
        """What there is of a file from byte ``start`` on; nothing if there is not more. May end early."""
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._asked("GET", f"/v1/files/{file}/content", headers, None) as answer:
            while answer.status != NOTHING_THERE and (data := answer.read1(PIECE)):
                yield data

    @contextmanager
    def _asked(
        self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes] | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            own = {"authorization": f"Bearer {self._key}"}
            connection.request(method, self._prefix + path, body=body, headers={**own, **headers})
            answer = connection.getresponse()
            if not 200 <= answer.status < 300 and answer.status != NOTHING_THERE:
                refused(answer.status, answer.read(PIECE), answer.headers.get("retry-after"))
            yield answer
        except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
            remedy = "check --url or PENSTOCK_GATEWAY, and that the gateway runs"
            message = f"no answer from {self._base}: {str(error) or type(error).__name__}"
            raise Unreachable(message, remedy=remedy) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)


def rest(seconds: float) -> None:
    """Wait; Ctrl-C ends it."""
    threading.Event().wait(seconds)
