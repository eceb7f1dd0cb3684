"""Puts one edge together: its parts, its routes, its duties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from gateway.app import application
from gateway.describing import openapi
from gateway.edge import Edge
from gateway.keys import Keys
from gateway.producers import Producers
from gateway.routes import chat, jobs
from gateway.server import Server

if TYPE_CHECKING:
    from starlette.requests import Request

    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.health import Health
    from runtime.service import Startable
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

ENDPOINTS = (*chat.ENDPOINTS, *jobs.ENDPOINTS)
"""Everything that needs a key."""


@dataclass(frozen=True, slots=True)
class Made:
    """An edge and what must run for it, in the order of starting."""

    edge: Edge
    server: Server
    duties: tuple[Startable, ...]


def assemble(
    config: Config,
    *,
    bus: Bus,
    clock: Clock,
    telemetry: Telemetry,
    health: Health,
    host: str,
    port: int,
    name: str,
) -> Made:
    """Make an edge's parts. Starts nothing."""
    producers = Producers(config.nats, timeout=config.gateway.timeout, name=name)
    edge = Edge(config, Keys(config.gateway), producers, bus, clock, telemetry)
    health.check("edge", lambda: "draining" if edge.draining else None)
    open_routes = [openapi(ENDPOINTS), *(_told(health, path) for path in ("/livez", "/readyz", "/metrics"))]
    server = Server(edge, application(edge, ENDPOINTS, open_routes), host=host, port=port)
    return Made(edge, server, (_Parts(edge), server))


def _told(health: Health, path: str) -> Route:
    async def answer(request: Request) -> Response:
        status, kind, body = health.find(path, request.headers.get("accept", ""))
        return Response(body, status, {"cache-control": "no-store"}, kind)

    return Route(path, answer, methods=["GET"])


class _Parts:
    """What must be closed after the last request."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def start(self) -> None:
        """Listen for other edges' questions; a project's producer connects when it is first asked for."""
        await self._edge.lingering.open()

    async def stop(self) -> None:
        """Let what lingers be, and disconnect."""
        await self._edge.lingering.close()
        await self._edge.producers.close()
