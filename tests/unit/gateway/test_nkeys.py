"""The broker's keys and signed words; that the broker takes them is held by ``tests/integration/gateway``."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.nkeys import Issuer, NkeyError, account_seed, claims_of

RAW = bytes(range(32))


def test_a_seed_has_the_form_that_the_broker_knows() -> None:
    seed = account_seed(RAW)
    assert len(seed) == 58
    assert seed.startswith("SA")
    public = Issuer(seed).public
    assert len(public) == 56
    assert public.startswith("A")


@given(st.binary(min_size=32, max_size=32))
def test_every_seed_is_read_back(raw: bytes) -> None:
    assert Issuer(account_seed(raw)).public == Issuer(account_seed(raw)).public


@given(st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_seed_with_a_wrong_character_is_none(place: int, other: str) -> None:
    seed = account_seed(RAW)
    wrong = seed[:place] + other + seed[place + 1 :]
    if wrong != seed:
        with pytest.raises(NkeyError):
            Issuer(wrong)


@pytest.mark.parametrize("wrong", ["", "SA", "psk_demo", "ü", "A" * 56, "SU" + "A" * 56])
def test_something_else_is_no_seed(wrong: str) -> None:
    with pytest.raises(NkeyError):
        Issuer(wrong)


def test_what_is_signed_can_be_read_and_verified() -> None:
    issuer = Issuer(account_seed(RAW))
    jwt = issuer.jwt({"sub": "U", "nats": {"type": "user"}})
    head, body, signature = jwt.split(".")
    claims = claims_of(jwt)
    assert (claims["iss"], claims["sub"]) == (issuer.public, "U")
    assert json.loads(urlsafe_b64decode(head + "==")) == {"typ": "JWT", "alg": "ed25519-nkey"}
    key = issuer._key.public_key()
    assert isinstance(key, Ed25519PublicKey)
    key.verify(urlsafe_b64decode(signature + "=="), f"{head}.{body}".encode())


@pytest.mark.parametrize("wrong", ["", "a", "a.b.c", "a.bnVsbA.c", "ü.ü.ü"])
def test_something_else_is_no_jwt(wrong: str) -> None:
    with pytest.raises(NkeyError):
        claims_of(wrong)
