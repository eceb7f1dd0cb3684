"""``GET /openapi.json``: what every route of this edge says of itself, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.routing import Route

from gateway.bodies.openapi import JSON, TEXT, About, Described, Told, document

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.app import Endpoint

PATH = "/openapi.json"
_METRICS = {"text/plain": TEXT, "application/openmetrics-text": TEXT}
OPEN = (
    Described(
        PATH,
        ("GET",),
        About("This document", "operation", {200: Told("OpenAPI 3.1.", {JSON: {"type": "object"}})}),
        who="anybody",
    ),
    Described(
        "/livez", ("GET",), About("Whether the edge lives", "operation", {200: Told("Yes.", {JSON: {}})}), who="anybody"
    ),
    Described(
        "/readyz",
        ("GET",),
        About(
            "Whether the edge may be given work",
            "operation",
            {200: Told("Yes.", {JSON: {}}), 503: Told("No, and why.", {JSON: {}})},
        ),
        who="anybody",
    ),
    Described(
        "/metrics",
        ("GET",),
        About("What the edge measures", "operation", {200: Told("Metrics.", _METRICS)}),
        who="anybody",
    ),
)
"""The routes that need no key."""


def described(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document of all routes, as JSON values. Raises LookupError for one that says nothing of itself."""
    silent = [one.path for one in endpoints if one.about is None]
    if silent:
        message = f"no word about {', '.join(silent)}: give each Endpoint its `about`"
        raise LookupError(message)
    keyed = [
        Described(one.path, one.methods, one.about, one.shape, one.who) for one in endpoints if one.about is not None
    ]
    return document((*keyed, *OPEN), version("penstock"))


def openapi(endpoints: Sequence[Endpoint]) -> Route:
    """The document's route. The document is made once."""
    made: list[bytes] = []

    async def answer(_: Request) -> Response:
        if not made:
            made.append(to_json(described([one for one in endpoints if one.about is not None])))
        return Response(made[0], 200, {"cache-control": "max-age=60"}, JSON)

    return Route(PATH, answer, methods=["GET"])
