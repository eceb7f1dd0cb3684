"""The routes of the edge, and who may use each: nothing is reachable that does not say so."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.asking import Gone
from gateway.bodies.failures import ApiError, Failed, Shape
from gateway.bodies.openapi import About
from gateway.call import Call
from gateway.refusals import api_error, of_bus
from gateway.watching import Watched
from producer_sdk.errors import PenstockError
from runtime.bus.port import BusError
from runtime.service import place_of
from runtime.telemetry import DEBUG, ERROR, WARNING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.edge import Edge
    from gateway.tracing import Span

Handler = Callable[[Call], Awaitable["ASGIApp"]]
"""Answers one request: a Starlette response, or any other ASGI application. May raise ``Failed`` or PenstockError."""
Who = Literal["project", "admin", "either"]
"""Whose key opens a route."""

JSON = "application/json"
_ID_HEADERS: dict[Shape, tuple[str, ...]] = {"anthropic": ("x-request-id", "request-id")}


class Broken(Exception):
    """An answer that has begun has no end: its connection is broken off. Says why, in one word for metrics."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route: how it is reached, by whom, and in which API's shape its errors are told."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    shape: Shape | None = "openai"
    """``None``: Anthropic's for whoever sends ``anthropic-version``, else OpenAI's."""
    who: Who = "project"
    about: About | None = None
    """What the OpenAPI document says of it; without it, it stands there by its path alone."""


def application(edge: Edge, endpoints: Sequence[Endpoint], open_routes: Sequence[Route] = ()) -> Starlette:
    """All routes as one ASGI application. ``open_routes`` need no key: health alone."""
    routes = [*open_routes, *(_route(edge, one) for one in endpoints)]
    return Starlette(routes=routes, exception_handlers={HTTPException: _not_found, Exception: _crashed(edge)})


def answer(
    value: Any, status: int = 200, headers: dict[str, str] | None = None, *, data: bytes | None = None
) -> Response:
    """A JSON answer of ``value`` (or of ``data``, which is JSON already)."""
    return Response(to_json(value) if data is None else data, status, headers, JSON)


def _route(edge: Edge, one: Endpoint) -> Route:
    entrance = Watched(edge.telemetry, one.path, _Entrance(edge, one))
    return Route(one.path, endpoint=entrance, methods=list(one.methods))


class _Entrance:
    """The way into one route: key, rate, answer, errors in the API's shape. An ASGI application."""

    def __init__(self, edge: Edge, endpoint: Endpoint) -> None:
        self._edge = edge
        self._endpoint = endpoint
        self._traced = edge.tracing.on and endpoint.about is not None and endpoint.about.submits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        edge, endpoint = self._edge, self._endpoint
        call_id = f"req_{secrets.token_hex(12)}"
        shape = endpoint.shape or shape_of(request)
        span: Span | None = None
        try:
            begun = edge.clock.wall()
            caller = edge.keys.caller(_presented(request), begun)
            if caller.admin and endpoint.who == "project":
                remedy = "use a key of a project: penstock keys create --project NAME"
                raise Failed(ApiError(403, "forbidden", "the admin key speaks for no project", remedy=remedy))
            if not caller.admin and endpoint.who == "admin":
                raise Failed(ApiError(403, "forbidden", "this needs the admin key", remedy="use the admin key"))
            edge.keys.admit(caller, edge.clock.monotonic())
            if edge.draining:
                message = "this edge is about to end"
                raise Failed(ApiError(503, "draining", message, retry_after=1.0, headers={"connection": "close"}))
            call = Call(edge, request, caller, call_id, shape, begun)
            if self._traced and (span := edge.tracing.begin(call, endpoint.path)) is not None:
                send = span.watching(send)
            response = await endpoint.handler(call)
            if isinstance(response, Response):
                response.headers.update(named(shape, call_id))
            await response(scope, receive, send)
        except Failed as failed:
            await refused(failed.error, shape, call_id)(scope, receive, send)
        except PenstockError as error:
            await refused(api_error(error), shape, call_id)(scope, receive, send)
        except BusError as error:
            edge.telemetry.emit("edge.store_failed", WARNING, request=call_id, error=type(error).__name__)
            await refused(of_bus(error), shape, call_id)(scope, receive, send)
        except Broken as broken:
            edge.telemetry.emit("edge.cut", WARNING, why=str(broken))
        except (Gone, ClientDisconnect):
            edge.telemetry.emit("edge.client_gone", DEBUG, path=endpoint.path)
        finally:
            if span is not None:
                span.end()


def refused(error: ApiError, shape: Shape, call_id: str) -> Response:
    """The answer that tells an error."""
    headers = {**error.told(), **named(shape, call_id)}
    if error.job is not None:
        headers["x-penstock-job"] = error.job
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return answer(error.body(shape, call_id), error.status, headers)


def named(shape: Shape, call_id: str) -> dict[str, str]:
    """The headers that tell a request's id: ours, and the API's own where it is another."""
    return dict.fromkeys(_ID_HEADERS.get(shape, ("x-request-id",)), call_id)


def shape_of(request: Request) -> Shape:
    """The API in whose words a route answers that two of them have."""
    return "anthropic" if "anthropic-version" in request.headers else "openai"


def _presented(request: Request) -> str:
    """The key of a request: OpenAI's ``Authorization: Bearer``, or Anthropic's ``x-api-key``."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    given = request.headers.get("x-api-key")
    if given:
        return given.strip()
    remedy = "send Authorization: Bearer psk_…, or x-api-key"
    raise Failed(ApiError(401, "missing_api_key", "there is no key in this request", remedy=remedy))


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    call_id = f"req_{secrets.token_hex(12)}"
    shape = shape_of(request)
    if status == 405:
        message = f"{request.method} is not done here: {request.url.path}"
        told = ApiError(405, "method_not_allowed", message, headers=dict(getattr(error, "headers", None) or {}))
    else:
        told = ApiError(status, "not_found", f"there is nothing at {request.url.path}", remedy="see /openapi.json")
    return refused(told, shape, call_id)


def _crashed(edge: Edge) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answered(request: Request, error: Exception) -> Response:
        call_id = f"req_{secrets.token_hex(12)}"
        edge.telemetry.emit("edge.failed", ERROR, request=call_id, error=type(error).__name__, place=place_of(error))
        message = "something went wrong at the gateway"
        told = ApiError(500, "internal", message, remedy=f"tell the operator: {call_id}")
        return refused(told, shape_of(request), call_id)

    return answered
