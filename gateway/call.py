"""One request: its sender, its id, its extras, its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.bodies import extras
from gateway.bodies.failures import ApiError, Failed, Shape
from gateway.bodies.objects import json_object
from gateway.reading import read_body

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.bodies.extras import Extras
    from gateway.caller import Caller
    from gateway.edge import Edge
    from job_contracts.tracing import Trace


@dataclass(slots=True)
class Call:
    """A request that was let in."""

    edge: Edge
    request: Request
    caller: Caller
    id: str
    """``req_…``; on every answer as ``x-request-id``."""
    shape: Shape
    begun: float
    """UTC seconds at which all of it was there, as far as it was read."""
    trace: Trace | None = None
    """Its own span, where the edge traces it: what it submits is a child of that."""
    _extras: Extras | None = None

    @property
    def extras(self) -> Extras:
        """What our headers say. Raises ``Failed`` with 400."""
        if self._extras is None:
            self._extras = extras.read(self.request.headers)
        return self._extras

    def amend(self, extras: Extras) -> None:
        """What the body says of the job counts as well."""
        self._extras = extras

    async def body(self, *, limit: int | None = None) -> bytes:
        """The whole body. Raises ``Failed``: 413 over ``limit`` (the edge's own if ``None``), 415, 408."""
        body = await read_body(self.request, limit or self.edge.settings.max_body)
        self.begun = self.edge.clock.wall()
        return body

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ``Failed`` with 400 or 415 as well."""
        kind = self.request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            remedy = "send Content-Type: application/json"
            raise Failed(ApiError(415, "unsupported_media_type", f"a body of type {kind!r} is not read", remedy=remedy))
        return json_object(await self.body())
