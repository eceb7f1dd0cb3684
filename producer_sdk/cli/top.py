"""``penstock top``: pools, limits and lanes as they are now, again and again."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from job_contracts.codec import encode
from job_contracts.operating import Overview
from producer_sdk.cli.arguments import AsJson, Url
from producer_sdk.cli.operating_tables import screen
from producer_sdk.cli.operators import operators
from producer_sdk.cli.showing import errors_told, finish, put, put_parts, width_here
from producer_sdk.errors import Unreachable


def top(
    *,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="One look, as where nobody watches.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Pools, limits and lanes, live at a terminal; elsewhere, and with --json, one look. Ctrl-C ends it.

    With the services' login in --url.
    """
    with errors_told(as_json=as_json):
        if as_json or once or not sys.stdout.isatty():
            told = finish(_once(url))
            if as_json:
                put(encode(told).decode())
            else:
                put_parts(screen(told, width_here()))
        else:
            finish(_live(url, every))


async def _once(url: str | None) -> Overview:
    async with operators(url) as ask:
        return await ask("overview", None, Overview)


async def _live(url: str | None, every: float) -> None:
    console = Console(highlight=False)  # asks for the window's size each time: it may change
    shown = Group(Text("…"))
    async with operators(url) as ask:
        with Live(shown, console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    shown = screen(await ask("overview", None, Overview), console.width)
                    live.update(shown, refresh=True)
                except Unreachable as error:  # as while another leader takes over: what is shown is old
                    old = Text(f"{error} What stands below is not of now.", style="bold red")
                    live.update(Group(old, shown), refresh=True)
                await asyncio.sleep(every)
