"""Puts one console together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalogue.load import providers
from console.app import Console, application
from console.asking import Asking, Edges, Ledger
from console.effective import made_up
from console.guarding import Guard
from console.live import Feeds
from console.pages import Pages
from console.panels import Desks
from console.panels.all import PANELS
from console.people import People
from console.playing import Playing
from console.server import Server
from console.sessions import Sessions
from console.turns import Turns
from runtime.agreed import configured

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from console.effective import Effective
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Made:
    """A console, its server and its playground, in the order of stopping; the application is what is served."""

    console: Console
    application: ASGIApp
    server: Server
    playing: Playing


def assemble(
    config: Config,
    *,
    bus: Bus,
    clock: Clock,
    telemetry: Telemetry,
    told: Callable[[str, str], tuple[int, str, bytes]],
    host: str = "127.0.0.1",
    port: int = 0,
    playing: Playing | None = None,
    effective: Effective | None = None,
) -> Made:
    """Make its parts. Starts nothing. ``playing``: what submits jobs, if not over the configuration's broker;
    ``effective``: where the configuration's values are from, if that is known.

    Raises CatalogueError where the operator's own files of the catalogue are not right.
    """
    settings, people = config.console, People(config, bus, clock)
    feeds, playing = Feeds(settings.every), playing or Playing(config, clock, telemetry)
    console = Console(
        desks=Desks(
            asking=Asking(bus),
            ledger=Ledger(bus),
            edges=Edges(bus),
            bus=bus,
            config=config,
            clock=clock,
            catalogue=providers(config.catalogue),
            playing=playing,
            effective=effective or made_up(config),
            configured=configured(config, clock.wall()),
        ),
        people=people,
        guard=Guard(settings, people, Sessions(settings), clock),
        feeds=feeds,
        turns=Turns(),
        pages=Pages(),
        panels=PANELS,
        telemetry=telemetry,
    )
    made = application(console, told)
    return Made(console, made, Server(made, feeds, telemetry, host=host, port=port), playing)
