"""Images fetched by their address: from the open internet alone, over a connection to what was looked at."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.eventually import eventually
from tests.support.upstream import Do, Step, Upstream, chunk, head, response
from workers.fetching import LOOKED_UP_AT_ONCE, Fetcher, Unfetched, is_public

NAME = "pictures.example"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("8.8.8.8", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("2606:2800:220:1:248:1893:25c8:1946%1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:0a00:0001::", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


class Names:
    """A look-up that says what it was told to, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.addresses


@pytest.mark.parametrize(
    "address",
    [
        "http://pictures.example/a.png",
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,aGk=",
        "https://",
        "https:///a.png",
        "https://xn--/a.png",
        "https://user:secret@pictures.example/a.png",
        "https://user@pictures.example/a.png",
        "https://pictures.example:8443/a.png",
        "https://pictures.example:99999/a.png",
        "https://[::1/a.png",
        "//pictures.example/a.png",
        "",
        "a.png",
    ],
)
async def test_what_is_no_plain_https_address_is_not_even_looked_up(address: str) -> None:
    names = Names("8.8.8.8")
    with pytest.raises(Unfetched):
        await Fetcher(look_up=names).fetch(address)
    assert names.asked == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:169.254.169.254"], []])
async def test_a_name_with_any_inner_address_is_refused_without_a_connection(addresses: list[str]) -> None:
    with pytest.raises(Unfetched, match="open internet"):
        await Fetcher(look_up=Names(*addresses)).fetch("https://pictures.example/a.png")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(Unfetched):
        await Fetcher().fetch(f"https://{host}/a.png")


async def test_look_ups_that_hang_hold_up_no_other_name_and_keep_their_places_until_they_are_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, begun = threading.Event(), list[str]()

    def hanging(host: str, *_: Any, **__: Any) -> list[Any]:
        begun.append(host)
        go.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    one = Fetcher(patience=3600.0)
    many = range(LOOKED_UP_AT_ONCE + 3)
    waiting = [asyncio.create_task(one.fetch(f"https://{number}.example/a.png")) for number in many]
    try:
        await eventually(lambda: len(begun) == LOOKED_UP_AT_ONCE, says=lambda: begun)
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 443)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        last = asyncio.create_task(one.fetch("https://last.example/a.png"))
        await asyncio.sleep(0)
        assert len(begun) == LOOKED_UP_AT_ONCE
    finally:
        go.set()
    with pytest.raises(Unfetched, match="open internet"):
        await last
    assert begun[LOOKED_UP_AT_ONCE:] == ["last.example"]


# -- over a real connection


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of ``NAME`` in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
async def pictures(certificate: Path) -> AsyncIterator[Upstream]:
    """A server under that name; ``url`` is its address on the web."""
    made = Upstream()
    made.play([response(b"\x89PNG", content_type="image/png")])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://{NAME}:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.proceed()


def fetcher(pictures: Upstream, certificate: Path, **how: float) -> Fetcher:
    """As operators have it, but that this machine counts as the open internet and any port as that of https."""
    return Fetcher(
        look_up=Names("127.0.0.1"),
        public=lambda _: True,
        context=ssl.create_default_context(cafile=str(certificate)),
        port=int(pictures.url.rpartition(":")[2]),
        **how,  # type: ignore[arg-type]
    )


async def test_an_image_comes_with_its_media_type_and_is_asked_for_without_cookies(
    pictures: Upstream, certificate: Path
) -> None:
    data, media_type = await fetcher(pictures, certificate).fetch(f"{pictures.url}/a.png?x=1")
    assert (base64.b64decode(data), media_type) == (b"\x89PNG", "image/png")
    (asked,) = pictures.asked
    assert asked.line == "GET /a.png?x=1 HTTP/1.1"
    assert asked.header("host") == pictures.url.removeprefix("https://")
    assert asked.header("cookie") is None


async def test_the_name_is_looked_up_once_and_the_connection_goes_to_what_was_looked_at(
    pictures: Upstream, certificate: Path
) -> None:
    names = Names("127.0.0.1")
    one = fetcher(pictures, certificate)
    one._look_up = names
    await one.fetch(f"{pictures.url}/a.png")
    assert names.asked == [NAME]
    assert pictures.connections == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([response(b"", status=302, extra="location: https://pictures.example/b.png\r\n")], "redirects"),
        ([response(b"no", status=404)], "404"),
        ([response(b"<html>", content_type="text/html")], "no image"),
        ([response(b"x" * 5_000, content_type="image/png")], "more than 1000 bytes"),
        ([head(content_type="image/png"), *[chunk(b"x" * 500)] * 5, chunk(b"")], "more than 1000 bytes"),
        ([head(content_type="image/png"), chunk(b"x"), Do.HANG], "within 0.5 s"),
        ([Do.HANG], "within 0.5 s"),
        ([head(content_type="image/png"), chunk(b"x"), Do.RESET], "could not be fetched"),
        ([b"nonsense\r\n\r\n", Do.CLOSE], "could not be fetched"),
    ],
    ids=[
        "redirect",
        "not found",
        "a page",
        "too large",
        "too large in pieces",
        "stalls",
        "hangs",
        "breaks",
        "nonsense",
    ],
)
async def test_what_goes_wrong_is_said_and_bounded(
    pictures: Upstream, certificate: Path, script: list[Step], why: str
) -> None:
    pictures.play(script)
    patience = 0.5 if why.startswith("within") else 30.0
    with pytest.raises(Unfetched, match=why):
        await fetcher(pictures, certificate, most=1_000, patience=patience).fetch(f"{pictures.url}/a.png")
    assert len(pictures.asked) == 1


async def test_a_certificate_of_another_name_is_not_trusted(pictures: Upstream, certificate: Path) -> None:
    with pytest.raises(Unfetched, match="could not be fetched"):
        await fetcher(pictures, certificate).fetch(f"{pictures.url.replace(NAME, 'other.example')}/a.png")
    assert pictures.asked == []
