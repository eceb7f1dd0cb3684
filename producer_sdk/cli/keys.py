"""``penstock keys``: the admin makes, lists, rotates and revokes the keys of projects, over the HTTP edge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from producer_sdk.cli.arguments import AsJson
from producer_sdk.cli.edge import ask
from producer_sdk.cli.showing import errors_told, may_go_on, people, put
from producer_sdk.errors import InvalidRequest

keys = typer.Typer(help="Keys of projects: make, list, rotate, revoke. Needs the admin key.", no_args_is_help=True)

Edge = Annotated[str, typer.Option("--url", help="The gateway.", envvar="PENSTOCK_GATEWAY", show_envvar=True)]
AdminKey = Annotated[
    str | None, typer.Option("--admin-key", help="psa_…", envvar="PENSTOCK_ADMIN_KEY", show_envvar=True)
]
Id = Annotated[str, typer.Argument(help="The key's id, as list prints it.")]
GATEWAY = "http://127.0.0.1:8400"
PAGE = 500


@keys.command("create")
def create(
    project: Annotated[str, typer.Argument(help="The project it speaks for.")],
    *,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    route: Annotated[list[str] | None, typer.Option(help="It may use this model; as often as needed.")] = None,
    lane: Annotated[list[str] | None, typer.Option(help="It may use this lane; as often as needed.")] = None,
    rpm: Annotated[float | None, typer.Option(help="Requests a minute.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of one answer.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="Most US dollars of one job.")] = None,
    tpm: Annotated[float | None, typer.Option(help="Tokens a minute; what is beyond waits.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Calls at once; further jobs wait.")] = None,
    max_queued: Annotated[int | None, typer.Option(help="Unfinished jobs.")] = None,
    max_queued_bytes: Annotated[int | None, typer.Option(help="Bytes of their bodies.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="US dollars by window: day=5,month=100 (hour, week, total; soft: only warn)."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="From now (90d, 12h), or a moment with its zone.")] = None,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
) -> None:
    """Make a key and print it. It can be read nowhere else, and never again.

    One with limits of its own (all but --expires) works over HTTP alone.
    """
    wish: dict[str, Any] = {
        "project": project,
        "name": name or None,
        "routes": route,
        "lanes": lane,
        "rpm": rpm,
        "max_tokens": max_tokens,
        "max_cost": max_cost,
        "tpm": tpm,
        "concurrency": concurrency,
        "max_queued": max_queued,
        "max_queued_bytes": max_queued_bytes,
        "expires": expires,
    }
    with errors_told(as_json=as_json):
        wish["budget"] = None if budget is None else _budget(budget)
        wish = {field: value for field, value in wish.items() if value is not None}
        _show_secret(ask(url, "POST", "/v1/keys", _admin(admin_key), wish), as_json=as_json)


@keys.command("list")
def list_(
    *,
    project: Annotated[str | None, typer.Option(help="Those of one project.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended as well.")] = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
) -> None:
    """The keys in the order they were made. A line is: id, project, state, when it ends, what it may do, name."""
    with errors_told(as_json=as_json):
        number = 0
        for one in _pages(url, _admin(admin_key), project):
            if every or one["state"] in {"active", "replaced, still valid"}:
                put(json.dumps(one, ensure_ascii=False) if as_json else _line(one))
                number += 1
        people.print(f"{number} key{'' if number == 1 else 's'}", style="dim", markup=False)


@keys.command("show")
def show(id: Id, *, as_json: AsJson = False, url: Edge = GATEWAY, admin_key: AdminKey = None) -> None:
    """One key, as a line of list."""
    with errors_told(as_json=as_json):
        one = ask(url, "GET", f"/v1/keys/{quote(id, safe='')}", _admin(admin_key))
        put(json.dumps(one, ensure_ascii=False) if as_json else _line(one))


@keys.command("rotate")
def rotate(
    id: Id,
    *,
    overlap: Annotated[
        str | None, typer.Option(help="The old key works so much longer (24h, 0); default: a day.")
    ] = None,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
) -> None:
    """Make a key that may do the same, print it, and let the old one end after the overlap."""
    with errors_told(as_json=as_json):
        body = {} if overlap is None else {"overlap": overlap}
        made = ask(url, "POST", f"/v1/keys/{quote(id, safe='')}/rotate", _admin(admin_key), body)
        _show_secret(made, as_json=as_json)
        people.print(f"{id} works until {_moment(made['old']['ends_at'])}", style="dim", markup=False)


@keys.command("revoke")
def revoke(
    id: Id,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
) -> None:
    """End a key for good, at once, on every way in."""
    with errors_told(as_json=as_json):
        key = _admin(admin_key)
        one = ask(url, "GET", f"/v1/keys/{quote(id, safe='')}", key)
        if not may_go_on(f"revoke {id} {one['name']} of {one['project']} for good?".replace("  ", " "), sure=yes):
            people.print("nothing was done")
            return
        ended = ask(url, "POST", f"/v1/keys/{quote(id, safe='')}/revoke", key)
        put(json.dumps(ended, ensure_ascii=False) if as_json else f"{id}\t{ended['state']}")


def _budget(text: str) -> dict[str, Any]:
    """``day=5,month=100,soft`` as the API takes it, which checks the words."""
    told: dict[str, Any] = {}
    for part in text.split(","):
        window, given, amount = part.strip().partition("=")
        if window != "soft" and not (given and amount):
            raise InvalidRequest(
                f"--budget: {part.strip()!r} is no amount", field="budget", remedy="write day=5,month=100"
            )
        told[window] = True if window == "soft" else amount.strip()
    return told


def _admin(key: str | None) -> str:
    if not key:
        remedy = "set PENSTOCK_ADMIN_KEY to the key that the first start printed"
        raise InvalidRequest("there is no admin key", field="admin-key", remedy=remedy)
    return key


def _pages(url: str, key: str, project: str | None) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {"limit": PAGE, **({} if project is None else {"project": project})}
    while True:
        page = ask(url, "GET", f"/v1/keys?{urlencode(asked)}", key)
        yield from page["data"]
        if not page["has_more"]:
            return
        asked["after"] = page["data"][-1]["id"]


def _show_secret(made: dict[str, Any], *, as_json: bool) -> None:
    put(json.dumps(made, ensure_ascii=False) if as_json else made["key"])
    people.print(f"{made['id']}: keep it now, it is shown this once", style="dim", markup=False)


def _line(one: dict[str, Any]) -> str:
    bounds = " ".join(f"{name}={_bound(value)}" for name, value in one["scope"].items())
    cells = (one["id"], one["project"], one["state"], _moment(one["ends_at"]), bounds or "-", one["name"])
    return "\t".join(cells).rstrip()


def _bound(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(
            "soft" if each is True else f"{name}={each}" for name, each in value.items() if each is not False
        )
    return ",".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def _moment(seconds: int | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
