"""The HTTP edge as the commands use it: JSON, an upload that is streamed, a content that is read from any byte on."""

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

from producer_sdk.errors import Forbidden, InvalidRequest, NotFound, PenstockError, Refused, TooLarge, Unreachable

PIECE = 256 * 1024
"""Bytes that are read or sent at once."""
TRIES = 10
"""Times a question is asked that may be asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two tries."""
_AWAY = (OSError, http.client.HTTPException)
_BUSY = {429, 500, 502, 503, 504}


class Edge:
    """Speaks to one address with one key. Every method raises PenstockError; ``timeout`` is in seconds, a silence."""

    def __init__(self, url: str, key: str | None, *, timeout: float = 60.0) -> None:
        place = urlsplit(url)
        if place.scheme not in {"http", "https"} or not place.hostname:
            raise InvalidRequest(f"url: {url!r} is no address of the HTTP edge", field="url", remedy="write http://…")
        self._secure = place.scheme == "https"
        self._host, self._port = place.hostname, place.port or (443 if self._secure else 80)
        self._prefix = place.path.rstrip("/").removesuffix("/v1")
        self._key = key
        self._timeout = timeout

    def ask(self, method: str, path: str, body: Any = None, *, patient: bool = False) -> dict[str, Any]:
        """One question and its JSON answer. ``patient``: asked again for a minute while the gateway is away or busy."""
        data = None if body is None else json.dumps(body).encode()

        def once() -> dict[str, Any]:
            headers = {"content-type": "application/json"} if data is not None else {}
            with self._asked(method, path, headers, data) as answer:
                found: dict[str, Any] = json.loads(_read(answer))
                return found

        return _again(once) if patient else once()

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
            size = file.stat().st_size
            headers = {
                "content-type": f"multipart/form-data; boundary={boundary}",
                "content-length": str(len(head) + size + len(tail)),
            }
            with self._asked("POST", "/v1/files", headers, _pieces(file, head, tail, tell)) as answer:
                return str(json.loads(_read(answer))["id"])
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise InvalidRequest(f"{file} cannot be read: {error}", field="file", remedy="name a file") from error

    def content(self, file: str, start: int) -> Iterator[bytes]:
        """What there is of a file from byte ``start`` on; nothing if there is not more. May end early."""
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._asked("GET", f"/v1/files/{file}/content", headers, None, none_at=416) as answer:
            if answer.status == 416:
                return
            while data := _read(answer, PIECE):
                yield data

    @contextmanager
    def _asked(
        self, method: str, path: str, headers: dict[str, str], body: Any, *, none_at: int = 0
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            own = {"authorization": f"Bearer {self._key}"} if self._key else {}
            connection.request(method, self._prefix + path, body=body, headers={**own, **headers})
            answer = connection.getresponse()
            if answer.status >= 400 and answer.status != none_at:
                raise _error(answer.status, answer.headers.get("retry-after"), answer.read(65_536))
            yield answer
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except _AWAY as error:
            where = f"{self._host}:{self._port}"
            message = f"the gateway at {where} cannot be reached: {str(error) or type(error).__name__}"
            raise Unreachable(message, remedy="check --url") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


def _again(once: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    pause = FIRST_PAUSE
    for _ in range(TRIES - 1):
        try:
            return once()
        except (Unreachable, Refused) as error:
            if isinstance(error, Forbidden) or (isinstance(error, Refused) and error.retry_after is None):
                raise
        rest(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return once()


def rest(seconds: float) -> None:
    """Wait; Ctrl-C ends it."""
    threading.Event().wait(seconds)


def _read(answer: http.client.HTTPResponse, size: int | None = None) -> bytes:
    return answer.read() if size is None else answer.read1(size)


def _pieces(file: Path, head: bytes, tail: bytes, tell: Callable[[int], None]) -> Iterator[bytes]:
    yield head
    with file.open("rb") as content:
        while data := content.read(PIECE):
            yield data
            tell(len(data))
    yield tail


def _error(status: int, retry_after: str | None, body: bytes) -> PenstockError:
    """The error that an answer tells."""
    try:
        told = json.loads(body)["error"]
        message, field = str(told["message"]), told.get("param")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, field = f"the gateway answered with status {status}", None
    if status in {401, 403}:
        return Forbidden(message, field=field)
    if status == 404:
        return NotFound(message, field=field)
    if status == 413:
        return TooLarge(message, field=field)
    if status in _BUSY or status == 507:
        waiting = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Refused(message, field=field, retry_after=waiting if status != 500 else None)
    return InvalidRequest(message, field=field)
