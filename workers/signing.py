"""What a request carries to prove who asks, where that is more than the key itself.

``signer_of`` reads the row: a provider whose row says ``sign = "sigv4"`` or ``"google"``, and whose key has the form
that goes with it, has a ``Signer``, which is asked for headers with each request; every other key is sent as it is
(``auth.credentials``). The libraries are loaded only for a worker whose provider wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import httpx
from pydantic import SecretStr

from catalogue.rows import ProviderRow
from job_contracts.failures import Failure
from runtime.clock import Clock
from workers.sigv4 import SigV4, aws_key

__all__ = ["NotSigned", "Signer", "signer_of"]


class NotSigned(Exception):
    """No proof could be had, so nothing was sent; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind.value)
        self.failure = failure


class Signer(Protocol):
    """Makes the headers that prove who asks."""

    async def headers(
        self, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Sequence[tuple[bytes, bytes]]:
        """Headers to be added to this POST, names in lower case. Raises NotSigned."""
        ...

    async def close(self) -> None:
        """End what goes on in the background."""
        ...


def signer_of(
    row: ProviderRow, key: SecretStr, *, region: str | None, clock: Clock, transport: httpx.AsyncBaseTransport
) -> Signer | None:
    """The signer for this provider and key, ``None`` where the key itself is sent.

    Raises BadCredential if the key has the form of one that signs, and is none.
    """
    secret = key.get_secret_value().strip()
    if row.sign == "sigv4" and ":" in secret:
        return SigV4(aws_key(row.name, secret, region), service=row.sign_service, clock=clock)
    if row.sign == "google" and (secret.startswith(("{", "/", "./", "~/")) or secret.endswith(".json")):
        from workers.google_tokens import GoogleTokens, account  # noqa: PLC0415 - loads google-auth

        return GoogleTokens(account(row.name, secret), auth=row.auth, clock=clock, transport=transport)
    return None
