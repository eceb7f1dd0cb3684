"""Fetches images for models that fetch none themselves; off unless the operator switches it on (``fetch_images``).

Whoever may submit a job names the address, so the worker must not become his way into the network it stands in. Only
``https`` on its own port, without a name and password in it; every address the name stands for must be a public one,
and the connection goes to exactly the addresses that were looked at, so that a second look-up cannot bring another one.
Redirects are not followed, no cookie or proxy is used, size and time are bounded, and only images are taken.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

__all__ = ["Fetcher", "Unfetched", "is_public"]

MOST = 20 * 1024 * 1024
"""Bytes of an image."""
PATIENCE = 15.0
"""Seconds for all of it."""
LOOKED_UP_AT_ONCE = 8
"""Names in a look-up at a time: whoever submits jobs chooses them, and may choose some whose look-up hangs."""
_PORT = 443
_TRANSLATED = ip_network("64:ff9b::/96")
"""IPv6 addresses behind which a gateway (NAT64) reaches an IPv4 address: the last four bytes."""

LookUp = Callable[[str, int], Sequence[str]]
"""Runs in a thread."""


class Unfetched(Exception):
    """The image was not fetched; says why, and nothing about what an inner address answered."""


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, and none that stands for another one that is not."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.scope_id is not None or found.is_site_local:  # both mean something on this network only
            return False
        if found in _TRANSLATED:
            return _open(IPv4Address(found.packed[-4:]))
        inner = found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return _open(inner)
        if found.teredo is not None:
            return False
    return _open(found)


def _open(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class _Pinned(AbstractResolver):
    """Knows one name, and the addresses that were looked at."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=self._host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


class Fetcher:
    """Fetches one image at a time by its address. The arguments are for tests."""

    def __init__(
        self,
        *,
        look_up: LookUp = look_up,
        public: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
        port: int = _PORT,
        patience: float = PATIENCE,
        most: int = MOST,
    ) -> None:
        self._look_up = look_up
        # Threads of its own: a look-up cannot be stopped, and those of the loop find the providers' addresses. One that
        # nobody waits for any more holds its place until it is done.
        self._names = ThreadPoolExecutor(LOOKED_UP_AT_ONCE, thread_name_prefix="names")
        self._public = public
        self._context = context
        self._port = port
        self._patience = patience
        self._most = most

    async def fetch(self, address: str) -> tuple[str, str]:
        """The image in base64, and its media type. Raises Unfetched."""
        url = self._checked(address)
        try:
            async with asyncio.timeout(self._patience):
                return await self._fetch(url, await self._addresses(url))
        except TimeoutError:
            raise Unfetched(f"it did not come within {self._patience:g} s") from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise Unfetched(f"it could not be fetched ({type(error).__name__})") from None

    def _checked(self, address: str) -> URL:
        try:
            url = URL(address)
            host, port = url.host, url.port
        except ValueError:
            raise Unfetched("its address is none") from None
        if url.scheme != "https" or not host:
            raise Unfetched("only https addresses are fetched")
        if url.user is not None or url.password is not None or port != self._port:
            raise Unfetched("addresses with a user or a port of their own are not fetched")
        return url

    async def _addresses(self, url: URL) -> Sequence[str]:
        host = url.host or ""
        found = await asyncio.get_running_loop().run_in_executor(self._names, self._look_up, host, self._port)
        if not found or not all(map(self._public, found)):
            raise Unfetched("its address is not one of the open internet")
        return found

    async def _fetch(self, url: URL, addresses: Sequence[str]) -> tuple[str, str]:
        trust: Any = True if self._context is None else self._context
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(url.host or "", addresses), use_dns_cache=False, ssl=trust, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
            ) as session,
            session.get(url, allow_redirects=False, headers={"accept": "image/*"}) as response,
        ):
            if response.status != 200:
                redirect = ", and redirects are not followed" if 300 <= response.status < 400 else ""
                raise Unfetched(f"its server answered with {response.status}{redirect}")
            media_type = response.content_type.lower()
            if not media_type.startswith("image/"):
                raise Unfetched("what its server sent is no image")
            data = bytearray()
            async for some in response.content.iter_chunked(64 * 1024):
                data += some
                if len(data) > self._most:
                    raise Unfetched(f"it has more than {self._most} bytes")
            return base64.b64encode(data).decode("ascii"), media_type
