"""Access tokens of Google's cloud for a service account.

A statement signed with the account's private key (by google-auth) is exchanged for a token that is good for an hour:
https://developers.google.com/identity/protocols/oauth2/service-account. The token is kept, and renewed in the
background some minutes before it runs out; only the first call, or one after a long time without the token endpoint,
waits for it. However many wait, one asks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from google.auth import crypt, jwt
from pydantic_core import from_json

from job_contracts.failures import Failure, FailureKind
from runtime.clock import Clock
from workers.auth import BadCredential, BadOrigin, origin
from workers.signing import NotSigned

__all__ = ["Account", "GoogleTokens", "account"]

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFE = 3600.0
"""Seconds for which a token is asked for: the most Google gives."""
EARLY = 300.0
"""Seconds before its end from which a token is renewed in the background."""
LAST = 15.0
"""Seconds before its end from which a token is not sent any more: the call has a way to go."""
PATIENCE = 10.0
"""Seconds the token endpoint is waited for."""
PAUSE = 5.0
"""Seconds between two tries after one that failed; until then its failure stands."""
_MOST = 64 * 1024
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class Account:
    """A service account: whom tokens are for, where they are had, and what signs for them."""

    email: str
    token_uri: str
    signer: Any = field(repr=False)


def account(provider: str, key: str) -> Account:
    """The account that ``key`` holds, or the file it is the path of.

    Raises BadCredential, which shows nothing of it, if it is no service account's key.
    """
    place = f"providers.{provider}.key"
    if not key.startswith("{"):
        try:
            key = Path(key).expanduser().read_text("utf-8")
        except (OSError, ValueError) as error:
            raise BadCredential(
                f"{place}: the service account's file cannot be read ({type(error).__name__})"
            ) from None
    try:
        info = json.loads(key)
    except ValueError:
        raise BadCredential(f"{place}: the service account's file is not JSON") from None
    needed = ("client_email", "private_key", "token_uri")
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise BadCredential(f"{place}: expected the key file of a service account (its type is 'service_account')")
    if lacking := [name for name in needed if not isinstance(info.get(name), str) or not info[name]]:
        raise BadCredential(f"{place}: the service account's file lacks {', '.join(lacking)}")
    _check_endpoint(place, info["token_uri"])
    try:
        signer = crypt.RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise BadCredential(f"{place}: the private key of the service account's file cannot be used") from None
    return Account(info["client_email"], info["token_uri"], signer)


def _check_endpoint(place: str, token_uri: str) -> None:
    try:
        scheme, host, _ = origin(token_uri)
    except (BadOrigin, ValueError):
        raise BadCredential(f"{place}: the service account's token_uri is no address") from None
    if scheme != "https" and host not in _LOOPBACK:
        raise BadCredential(f"{place}: the service account's token_uri must start with https://")


class GoogleTokens:
    """Implements ``signing.Signer``."""

    def __init__(
        self, account: Account, *, auth: Mapping[str, str], clock: Clock, transport: httpx.AsyncBaseTransport
    ) -> None:
        """``auth``: header templates with ``{key}`` for the token; ``transport``: the way to the token endpoint."""
        self._account = account
        self._templates = {name.lower(): template for name, template in auth.items()}
        self._clock = clock
        self._transport = transport
        self._headers: tuple[tuple[bytes, bytes], ...] = ()
        self._ends = 0.0
        self._asking: asyncio.Task[Failure | None] | None = None
        self._failed: tuple[float, Failure] | None = None

    async def headers(
        self, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Sequence[tuple[bytes, bytes]]:
        """The headers with a token that is good for a while yet."""
        left = self._ends - self._clock.wall()
        if left < EARLY:
            asking = self._renewal()
            if left < LAST:
                failure = await asyncio.shield(asking) if isinstance(asking, asyncio.Task) else asking
                if failure is not None:
                    raise NotSigned(failure)
        return self._headers

    async def close(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.wait([asking])

    def _renewal(self) -> asyncio.Task[Failure | None] | Failure:
        """The renewal under way, a new one, or why the last one failed if that was a moment ago."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        if self._failed is not None and self._clock.monotonic() - self._failed[0] < PAUSE:
            return self._failed[1]
        self._asking = asyncio.create_task(self._renew())
        return self._asking

    async def _renew(self) -> Failure | None:
        try:
            async with asyncio.timeout(PATIENCE):
                failure = await self._exchange()
        except TimeoutError:
            failure = _unreachable(f"it did not answer within {PATIENCE:g} s")
        except httpx.RequestError as error:  # of the way there, or an answer that cannot be decompressed
            failure = _unreachable(type(error).__name__)
        self._failed = (self._clock.monotonic(), failure) if failure is not None else None
        return failure

    async def _exchange(self) -> Failure | None:
        account, now = self._account, int(self._clock.wall())
        claims = {
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + int(LIFE),
        }
        assertion = jwt.encode(account.signer, claims)  # type: ignore[no-untyped-call]
        body = urlencode({"grant_type": _GRANT, "assertion": assertion.decode()}).encode()
        url = httpx.URL(account.token_uri)
        headers = [
            (b"host", url.netloc),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"content-length", b"%d" % len(body)),
        ]
        request = httpx.Request(
            "POST", url, headers=headers, stream=httpx.ByteStream(body), extensions={"timeout": {"connect": PATIENCE}}
        )
        response = await self._transport.handle_async_request(request)
        try:
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > _MOST:
                    break
        finally:
            await response.aclose()
        return self._read(response.status_code, bytes(answer), now)

    def _read(self, status: int, answer: bytes, now: float) -> Failure | None:
        try:
            told = from_json(answer)
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        if status != 200:
            return _refused(status, told)
        token, life = told.get("access_token"), told.get("expires_in")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            return _unreachable("its answer holds no token")
        if not isinstance(life, int | float) or isinstance(life, bool) or not life > 0:
            life = LIFE
        self._headers = tuple(
            (name.encode("ascii"), template.replace("{key}", token).encode("ascii"))
            for name, template in self._templates.items()
        )
        self._ends = now + min(float(life), LIFE)
        return None


def _refused(status: int, told: Mapping[str, Any]) -> Failure:
    code = told.get("error")
    code = code[:80] if isinstance(code, str) else None
    if status >= 500 or status in {408, 429} or status < 400:
        return _unreachable(f"it answered with {status}")
    return Failure(
        kind=FailureKind.AUTH,
        message=f"Google gave no access token: HTTP {status}{f' ({code})' if code else ''}",
        remedy="check that the service account exists, its key is not revoked, and this machine's clock is right",
        status=status,
        code=code,
    )


def _unreachable(why: str) -> Failure:
    return Failure(kind=FailureKind.CONNECT, message=f"no access token from the token endpoint: {why}")
