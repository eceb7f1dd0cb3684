"""How a producer reaches the broker: its project, which the key names, and the transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError
from job_contracts.keys import PREFIX, mistyped
from producer_sdk.border import malformed
from producer_sdk.errors import InvalidRequest

if TYPE_CHECKING:
    import ssl

    from producer_sdk.transport import Transport

DEFAULT_PROJECT = "default"


def over_nats(
    url: str | Sequence[str],
    key: str | None,
    project: str | None,
    *,
    tls: ssl.SSLContext | None,
    name: str,
    window: int,
) -> Transport:
    """The transport for a key, or for a project where the broker asks for none. Raises InvalidRequest."""
    from producer_sdk.nats_transport import NatsTransport  # noqa: PLC0415 - a producer over another transport needs none

    return NatsTransport(url, project_of(key, project), key or None, tls=tls, name=name, window=window)


def project_of(key: str | None, project: str | None) -> str:
    """The project a key belongs to, or the one that is named. Raises InvalidRequest if they disagree."""
    if key:
        named, _, secret = key.removeprefix(PREFIX).rpartition("_")
        if key.startswith(PREFIX) and mistyped(key):
            message = "key: it was not copied whole: its last characters do not fit the rest"
            raise InvalidRequest(message, field="key", remedy="copy it again as it was handed out")
        if not key.startswith(PREFIX) or not named or not secret:
            message = f"key: it does not look like {PREFIX}<project>_<secret>"
            raise InvalidRequest(message, field="key", remedy="use the key as it was handed out")
        if project is not None and project != named:
            message = f"project: the key belongs to {named!r}, not to {project!r}"
            raise InvalidRequest(message, field="project", remedy="leave project out, or use a key of that project")
        project = named
    try:
        return subjects.check_token(project or DEFAULT_PROJECT, "project")
    except ContractError as error:
        raise malformed(error) from error
