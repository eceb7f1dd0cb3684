"""A provider's credential as headers, and the one origin they may be sent to."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from catalogue.rows import ProviderRow

__all__ = ["BadCredential", "BadOrigin", "credentials", "origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadCredential(ValueError):
    """The configured key cannot be sent; the message names the provider, never the key."""


class BadOrigin(ValueError):
    """An address is none, or not one of the provider's own."""


def credentials(row: ProviderRow, key: SecretStr) -> Mapping[str, str]:
    """The headers that carry the key, names in lower case. Empty if the provider wants none or no key is set.

    Raises BadCredential if the key holds what no header value may (line breaks, other control characters, not ASCII).
    """
    secret = key.get_secret_value()
    if not secret:
        return {}
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        message = f"the key of provider {row.name!r} holds characters that cannot be sent in a header"
        raise BadCredential(message)
    return {name.lower(): template.replace("{key}", secret) for name, template in row.auth.items()}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address. Raises BadOrigin if it has none, or user information in it."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        message = "a provider's address starts with http:// or https:// and a host"
        raise BadOrigin(message)
    if parts.username is not None or parts.password is not None:
        message = "a provider's address must not hold a user or password; the key is configured beside it"
        raise BadOrigin(message)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
