"""Puts one edge together: its parts, its routes, its duties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from gateway.app import application
from gateway.callout import Callout
from gateway.describing import openapi
from gateway.edge import Edge
from gateway.evicting import Evictor
from gateway.files.sweeper import Sweeper
from gateway.key_answers import KeyAnswers
from gateway.key_desk import KeyDesk
from gateway.key_store import KeyStore
from gateway.keys import Book, Keys
from gateway.nkeys import Issuer
from gateway.peers import Peers
from gateway.producers import Producers
from gateway.routes import batches, chat, embeddings, feedback, files, jobs, keys, messages, models, responses, spend
from gateway.server import Server
from runtime.agreed import configured
from runtime.bus.door import Door
from runtime.connection import bus_settings

if TYPE_CHECKING:
    from starlette.requests import Request

    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.health import Health
    from runtime.service import Startable
    from runtime.settings import Config
    from runtime.telemetry import Telemetry

ENDPOINTS = (
    *chat.ENDPOINTS,
    *responses.ENDPOINTS,
    *messages.ENDPOINTS,
    *embeddings.ENDPOINTS,
    *models.ENDPOINTS,
    *jobs.ENDPOINTS,
    *feedback.ENDPOINTS,
    *files.ENDPOINTS,
    *batches.ENDPOINTS,
    *keys.ENDPOINTS,
    *spend.ENDPOINTS,
)
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
    settings, book = config.gateway, Book(config.gateway)
    store = KeyStore(bus, book, clock, telemetry, settings)
    told = configured(config, clock.wall())
    peers = Peers(bus, clock, telemetry, name=name, every=settings.beat_every, configured=told)
    ring = Keys(settings, book, monotonic=clock.monotonic, fresh=store.fresh, share=peers.share)
    desk = KeyDesk(settings, book, store, bus=bus, clock=clock, telemetry=telemetry)
    edge = Edge(config, ring, producers, bus, clock, telemetry, desk, name=name)
    health.check("keys", lambda: None if store.fresh(clock.monotonic()) else "not heard lately which keys are valid")
    health.check("edge", lambda: "draining" if edge.draining else None)
    open_routes = [openapi(ENDPOINTS), *(_told(health, path) for path in ("/livez", "/readyz", "/metrics"))]
    server = Server(edge, application(edge, ENDPOINTS, open_routes), host=host, port=port)
    sweeper = Sweeper(bus, edge.files, settings.files, telemetry, in_use=edge.records.in_use)
    at_the_door = _door(edge, book, store, name)
    answers = KeyAnswers(desk, config, bus=bus, clock=clock, fresh=store.fresh, edges=peers.heard)
    duties: tuple[Startable, ...] = (_Parts(edge), store, peers, answers, *at_the_door, sweeper, edge.batches, server)
    return Made(edge, server, duties)


def _door(edge: Edge, book: Book, store: KeyStore, name: str) -> tuple[Startable, ...]:
    """What stands at the broker's door, where the configuration says so. Raises NkeyError."""
    told = edge.settings.callout
    if told is None:
        return ()
    login = {"user": told.user, "password": told.password, "name": f"{name} door"}
    door = Door(bus_settings(edge.config.nats, name=name).model_copy(update=login))
    issuer, projects = Issuer(told.seed.get_secret_value()), edge.config.projects
    clock, telemetry = edge.clock, edge.telemetry
    return (
        Callout(door, edge.keys, issuer, projects=projects, clock=clock, telemetry=telemetry),
        Evictor(door, book, store, projects=projects, clock=clock, telemetry=telemetry),
    )


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
