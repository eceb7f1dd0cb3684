"""``penstock models``: what the catalogue knows of models, listed and searched.

The catalogue belongs to the gateway and is not part of the client library: it is looked for when the command is called.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from rich.console import Console
from rich.table import Table

from producer_sdk.cli.arguments import AsJson
from producer_sdk.cli.showing import errors_told, people, put
from producer_sdk.errors import InvalidRequest

_KINDS = {"chat": ("chat",), "embeddings": ("embeddings",), "all": ("chat", "embeddings", "completions", "other")}


@dataclass(frozen=True, slots=True)
class Listed:
    """One model at one provider, with the price of today."""

    provider: str
    model: Any
    """``catalogue.rows.ModelRow``."""
    price: Any
    """``catalogue.prices.Price``, or ``None``."""
    dialect: str
    regions: tuple[str, ...]
    retention: str

    @property
    def deployment(self) -> str:
        """As routes name it."""
        return f"{self.provider}/{self.model.name}"

    @property
    def can(self) -> tuple[str, ...] | None:
        """What the model can do, ``None`` if nobody says."""
        told = "capabilities" in self.model.model_fields_set
        return tuple(sorted(self.model.capabilities)) if told else None

    def retired(self, today: date) -> bool:
        """Whether the provider has stopped answering for it."""
        return self.model.retires is not None and self.model.retires <= today


def models(
    text: Annotated[
        list[str] | None, typer.Argument(help="Words that all stand in the provider's or the model's name.")
    ] = None,
    *,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", "-p", help="Only this one; may be given again.")
    ] = None,
    can: Annotated[
        str | None, typer.Option(help="Only models that can do all of these: tools,images,json_schema …")
    ] = None,
    window: Annotated[int, typer.Option(min=0, help="Only models with a context window of so many tokens.")] = 0,
    kind: Annotated[Literal["chat", "embeddings", "all"], typer.Option(help="Which models.")] = "chat",
    retired: Annotated[
        bool, typer.Option("--retired", help="Those as well that their providers have given up.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--catalogue", help="Your own folder of TOML files, as in the configuration.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Models the catalogue knows: context window, most output, US dollars per million tokens, what they can do.

    A line is: provider/model, window, output, dollars in, dollars out, dollars for cached input, abilities, last day.
    What is not known is left empty. Needs the gateway's source tree, where the catalogue is.
    """
    with errors_told(as_json=as_json):
        now = datetime.fromtimestamp(time.time(), UTC)
        rows = _rows(folder)
        _known("provider", provider or [], rows)
        wanted = [name.strip() for name in (can or "").split(",") if name.strip()]
        _known("can", wanted, get_args(_catalogue("rows").Capability))
        words = [word.lower() for word in text or []]
        found = [
            listed
            for listed in _all(rows, provider or list(rows), now)
            if listed.model.kind in _KINDS[kind]
            and all(word in f"{listed.deployment} {rows[listed.provider].title}".lower() for word in words)
            and set(wanted) <= set(listed.can or ())
            and (listed.model.context_window or 0) >= window
        ]
        shown = [listed for listed in found if retired or not listed.retired(now.date())]
        _show(shown, now.date(), as_json=as_json)
        left = len(found) - len(shown)
        more = f"; {left} retired left out, --retired shows them" if left else ""
        people.print(f"{len(shown)} model{'' if len(shown) == 1 else 's'}{more}", style="dim", markup=False)


def _rows(folder: Path | None) -> Mapping[str, Any]:
    load = _catalogue("load")
    try:
        rows: Mapping[str, Any] = load.providers(folder)
    except load.CatalogueError as error:
        raise InvalidRequest(str(error), field="catalogue", remedy="mend the file, or name another folder") from error
    return rows


def _catalogue(room: str) -> Any:
    # The wheel must not need it, so nothing imports it by its name.
    try:
        return importlib.import_module(f"catalogue.{room}")
    except ModuleNotFoundError as error:
        message = f"the catalogue is not here: {error}"
        remedy = "run penstock in an environment made from the gateway's source tree (make setup)"
        raise InvalidRequest(message, field="catalogue", remedy=remedy) from error


def _all(rows: Mapping[str, Any], names: list[str], now: datetime) -> Iterator[Listed]:
    price_at = _catalogue("prices").price_at
    for name in sorted(set(names)):
        row = rows[name]
        try:
            known = row.known()
        except ModuleNotFoundError as error:
            remedy = "install it: pip install genai-prices"
            raise InvalidRequest(f"the library of prices is missing: {error}", remedy=remedy) from error
        for model in known:
            yield Listed(
                name,
                model,
                price_at(row.prices(model.name), now),
                model.dialect or row.dialect,
                row.regions if model.regions is None else model.regions,
                row.retention if model.retention is None else model.retention,
            )


def _known(field: str, given: list[str], known: Any) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, list(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            message = f"{field}: there is no {name!r}"
            raise InvalidRequest(message, field=field, remedy=f"{hint}There are: {', '.join(sorted(known))}")


# -- as lines, as JSON, as a table


def _show(shown: list[Listed], today: date, *, as_json: bool) -> None:
    if as_json:
        for listed in shown:
            put(json.dumps(told(listed), ensure_ascii=False))
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        if shown:
            Console(highlight=False, width=width).print(table(shown, today, width))
    else:
        for listed in shown:
            put(line(listed))


def told(listed: Listed) -> dict[str, Any]:
    """A model as JSON; dollars are text, so that no digit is lost, and what is not known is ``null``."""
    model = listed.model
    return {
        "model": model.name,
        "provider": listed.provider,
        "kind": model.kind,
        "dialect": listed.dialect,
        "context_window": model.context_window,
        "max_output": model.max_output,
        "capabilities": listed.can,
        "price": listed.price.model_dump(mode="json", exclude_none=True) if listed.price is not None else None,
        "deprecated": model.deprecated,
        "retires": model.retires.isoformat() if model.retires else None,
        "successor": model.successor or None,
        "regions": listed.regions,
        "retention": listed.retention or None,
    }


def line(listed: Listed) -> str:
    """A model, its fields apart by tabs."""
    model = listed.model
    return "\t".join(
        (
            listed.deployment,
            str(model.context_window or ""),
            str(model.max_output or ""),
            *(_dollars(listed, kind) for kind in ("input", "output", "cache_read")),
            ",".join(listed.can or ()),
            model.retires.isoformat() if model.retires else "",
        )
    )


def table(shown: list[Listed], today: date, width: int) -> Table:
    """Models for a terminal: as many facts as have room side by side."""
    ruler = Console(width=10_000)
    tables = (_table(shown, today, wide=wide, medium=medium) for wide, medium in ((True, True), (False, True)))
    fitting = (one for one in tables if ruler.measure(one).maximum <= width)
    return next(fitting, None) or _table(shown, today, wide=False, medium=False)


def _table(shown: list[Listed], today: date, *, wide: bool, medium: bool) -> Table:
    found = Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("model", overflow="fold")
    found.add_column("window", justify="right", no_wrap=True)
    if medium:
        found.add_column("output", justify="right", no_wrap=True)
    found.add_column("$ in", justify="right", no_wrap=True)
    found.add_column("$ out", justify="right", no_wrap=True)
    if wide:
        found.add_column("$ cached", justify="right", no_wrap=True)
        found.add_column("can", no_wrap=True)
    if medium:
        found.add_column("retires", no_wrap=True)
    for listed in shown:
        model = listed.model
        tiers = "+" if listed.price is not None and listed.price.tiers else ""
        cells = [listed.deployment, _short(model.context_window)]
        cells += [_short(model.max_output)] if medium else []
        cells += [f"{dollars}{tiers}" if (dollars := _dollars(listed, kind)) else "" for kind in ("input", "output")]
        # Nearly all take a system prompt; JSON and lines say it all the same.
        cells += (
            [_dollars(listed, "cache_read"), " ".join(can for can in listed.can or () if can != "system")]
            if wide
            else []
        )
        cells += [_last_day(model)] if medium else []
        found.add_row(*cells, style="dim" if listed.retired(today) else None)
    return found


def _last_day(model: Any) -> str:
    if model.retires:
        return str(model.retires.isoformat())
    return "deprecated" if model.deprecated else ""


def _dollars(listed: Listed, kind: Literal["input", "output", "cache_read"]) -> str:
    price = listed.price
    rate = getattr(price, kind) if price is not None else None
    if rate is None:
        return ""
    # Five digits do for reading; some prices come from products of binary fractions.
    return f"{Decimal(f'{rate:.5g}').normalize():f}"


def _short(tokens: int | None) -> str:
    if tokens is None:
        return ""
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.3g}M"
    return f"{tokens / 1_000:.3g}K" if tokens >= 1_000 else str(tokens)
