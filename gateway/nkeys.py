"""The broker's own keys and signed words: nkeys (Ed25519) and the JWTs made with them, as far as an auth callout needs.

An nkey is base32 of a prefix byte, 32 bytes and a CRC-16 (XMODEM, little endian); a seed has two prefix bytes. The JWTs
are those of NATS (version 2): algorithm ``ed25519-nkey``. Sources: nats-io/nkeys and nats-io/jwt, ADR-26.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import b32decode, b32encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ACCOUNT = 0 << 3  # "A"
_SEED = 18 << 3  # "S"
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class NkeyError(ValueError):
    """A text is not the seed, or the JWT, that it should be."""


class Issuer:
    """An account's key that signs for it. Made from a seed (``SA…``); raises NkeyError if it is none."""

    def __init__(self, seed: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(_raw_seed(seed))
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = _encoded(bytes((_ACCOUNT,)), public)
        """``A…``: what the broker's configuration names."""

    def jwt(self, claims: dict[str, Any]) -> str:
        """Signed claims; ``iss`` and ``jti`` are filled in."""
        claims = {**claims, "iss": self.public}
        claims["jti"] = b32encode(hashlib.sha256(_json(claims)).digest()).decode().rstrip("=")
        said = f"{_base64(_json(_HEADER))}.{_base64(_json(claims))}"
        return f"{said}.{_base64(self._key.sign(said.encode()))}"


def account_seed(raw: bytes) -> str:
    """The seed of an account (``SA…``) with 32 random bytes."""
    # Both prefixes in 16 bits: 5 bits "S", then 8 bits of the kind, as the encoding has it.
    return _encoded(bytes((_SEED | (_ACCOUNT >> 5), (_ACCOUNT & 31) << 3)), raw)


def claims_of(jwt: str) -> dict[str, Any]:
    """What a JWT says, its signature not looked at. Raises NkeyError."""
    try:
        body = jwt.split(".")[1]
        found = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError) as error:
        raise NkeyError("this is no JWT") from error
    if not isinstance(found, dict):
        raise NkeyError("this is no JWT")
    return found


def _raw_seed(seed: str) -> bytes:
    try:
        data = b32decode(seed + "=" * (-len(seed) % 8))
    except (ValueError, binascii.Error) as error:
        raise NkeyError("this is no seed of an account (SA…)") from error
    body, crc = data[:-2], data[-2:]
    if len(data) != 36 or not seed.startswith("SA") or binascii.crc_hqx(body, 0).to_bytes(2, "little") != crc:
        raise NkeyError("this is no seed of an account (SA…)")
    return body[2:]


def _encoded(prefix: bytes, raw: bytes) -> str:
    body = prefix + raw
    return b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
