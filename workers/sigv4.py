"""AWS's signature version 4, computed by botocore: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.

Signed are the host, the type of the content, the date, the session token and the exact bytes of the body. The steps are
called one by one and not through ``add_auth``: the time is our clock's, and that method writes the request to be
signed, session token included, to the log. ``docs/decisions/0021-signed-requests.md`` has the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from runtime.clock import Clock
from workers.auth import BadCredential

__all__ = ["AwsKey", "SigV4", "aws_key"]


@dataclass(frozen=True, slots=True)
class AwsKey:
    """An access key and the region it is used in; what is secret is not shown."""

    id: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str


def aws_key(provider: str, key: str, region: str | None) -> AwsKey:
    """``ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]`` taken apart. Raises BadCredential, which shows nothing of it."""
    parts = key.split(":")
    if len(parts) not in {2, 3} or not all(part and part.isascii() and part.isprintable() for part in parts):
        raise BadCredential(f"providers.{provider}.key: expected ACCESS_KEY_ID:SECRET[:SESSION_TOKEN], or an API key")
    if not region:
        raise BadCredential(f"providers.{provider}.region: set it: the region is part of the signature")
    return AwsKey(parts[0], parts[1], parts[2] if len(parts) == 3 else None, region)


class SigV4:
    """Implements ``signing.Signer``."""

    def __init__(self, key: AwsKey, *, service: str, clock: Clock) -> None:
        """``service``: AWS's name of the service in signatures (``bedrock``)."""
        # Here and not above: importing these takes long, and tries whether the machine has IPv6.
        from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # noqa: PLC0415
        from botocore.credentials import Credentials  # type: ignore[import-untyped]  # noqa: PLC0415

        self._request = AWSRequest
        self._auth = SigV4Auth(Credentials(key.id, key.secret, key.token), service, key.region)
        self._token = key.token
        self._clock = clock

    async def headers(
        self, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Sequence[tuple[bytes, bytes]]:
        """The date, the session token if there is one, and the signature."""
        stamp = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = {name.decode(): value.decode("latin-1") for name, value in headers if name in _SIGNED}
        signed["x-amz-date"] = stamp
        if self._token is not None:
            signed["x-amz-security-token"] = self._token
        address = f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode()}"
        request = self._request(method="POST", url=address, headers=signed, data=body)
        request.context["timestamp"] = stamp
        auth = self._auth
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        names = auth.signed_headers(auth.headers_to_sign(request))
        proof = f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={signature}"
        made = [(b"x-amz-date", stamp.encode()), (b"authorization", proof.encode())]
        if self._token is not None:
            made.append((b"x-amz-security-token", self._token.encode()))
        return made

    async def close(self) -> None:
        pass


_SIGNED = frozenset((b"host", b"content-type"))
