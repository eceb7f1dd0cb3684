"""Addresses of the broker: one, or each node of a cluster in one text."""

from __future__ import annotations

import pytest

from producer_sdk.nats_transport import NatsTransport
from runtime.bus import BusSettings
from runtime.command import shown


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("nats://a:1", ("nats://a:1",)),
        ("nats://a:1, nats://b:2", ("nats://a:1", "nats://b:2")),
        (("nats://a:1", "nats://b:2"), ("nats://a:1", "nats://b:2")),
        ("nats://a:1,", ("nats://a:1",)),
    ],
)
def test_several_addresses_stand_in_one_text_or_apart(given: str | tuple[str, ...], urls: tuple[str, ...]) -> None:
    assert BusSettings(url=given).urls == urls
    assert tuple(NatsTransport(given, "demo")._servers) == urls


def test_no_password_of_several_addresses_is_shown() -> None:
    assert shown("nats://me:hush@a:1,tls://me:hush@b:2") == "nats://a:1,tls://b:2"
