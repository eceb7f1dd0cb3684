"""``penstock spend``: what was spent, what it would have cost elsewhere, where budgets will be; over the HTTP edge."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.table import Table

from job_contracts.sheets import sheet
from job_contracts.spend import Projection, Sums
from producer_sdk.cli.arguments import AsJson
from producer_sdk.cli.edge import ask
from producer_sdk.cli.showing import errors_told, people, put, put_table
from producer_sdk.errors import InvalidRequest

spend = typer.Typer(invoke_without_command=True)

AdminKey = Annotated[
    str | None, typer.Option("--admin-key", help="psa_…", envvar="PENSTOCK_ADMIN_KEY", show_envvar=True)
]
ApiKey = Annotated[
    str | None, typer.Option("--key", help="psk_…; without an admin key.", envvar="PENSTOCK_KEY", show_envvar=True)
]
Edge = Annotated[str, typer.Option("--url", help="The gateway.", envvar="PENSTOCK_GATEWAY", show_envvar=True)]
Since = Annotated[str, typer.Option(help="A time ago (7d, 12h), a day (2026-11-01), or a moment with its zone.")]
Until = Annotated[str | None, typer.Option(help="The first moment that does not belong to it; default: now.")]
Project = Annotated[str | None, typer.Option(help="Of one project.")]
Provider = Annotated[str | None, typer.Option(help="Of one provider.")]
Model = Annotated[str | None, typer.Option(help="Of one model, as its provider calls it.")]
Route = Annotated[str | None, typer.Option(help="Of one route.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV on standard output.")]
GATEWAY = "http://127.0.0.1:8400"
PAGE = 500
_TIMES = ("hour", "day", "month")
_MOMENTS = ("start", "end", "exhausted")
_WIDE = {"start", "rate", "soft"}
"""Of a forecast; programs have them."""
_WORDS = {
    "cost": "USD",
    "notes": "approximated",
    "projected": "at the end",
    "exhausted": "used up",
    "payer": "budget of",
}
"""What a person reads at the head of a column, where it is not the name that programs have."""
_SUMS = tuple(Sums.model_fields)
_SAID = ("route", "accept", "correct", "replace", "unread")


@spend.callback()
def sums(
    context: typer.Context,
    *,
    by: Annotated[
        str,
        typer.Option(
            help="Up to four of provider, model, deployment, route, project, key, tag, reason, hour, day, month; "
            "commas between."
        ),
    ] = "model",
    since: Since = "30d",
    until: Until = None,
    project: Project = None,
    provider: Provider = None,
    model: Model = None,
    route: Route = None,
    reason: Annotated[
        str | None, typer.Option(help="user, failed, cancelled, hedged, shadow or verify attempts alone.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="A tag's name: by its values. name=value: that value alone.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
    key: ApiKey = None,
) -> None:
    """What was spent in a period, the largest sums first, or in order of time.

    The admin key sees all projects, a project's key its own. A line is: what --by names, attempts, tokens in and out,
    US dollars, and those of them that were wasted.
    """
    if context.invoked_subcommand is not None:
        return
    asked = {
        "by": by,
        "since": since,
        "until": until,
        "project": project,
        "provider": provider,
        "model": model,
        "route": route,
        "reason": reason,
        "tag": tag,
    }
    with errors_told(as_json=as_json):
        _one_form(as_csv=as_csv, as_json=as_json)
        pages = list(_pages(url, _key(admin_key, key), asked))
        first, rows = pages[0], [row for page in pages for row in page["rows"]]
        names: list[str] = first["by"]
        if not set(names) & set(_TIMES):
            rows.sort(key=lambda row: -Decimal(row["cost"]))
        if as_json:
            put(json.dumps({**first, "rows": rows, "after": None}, ensure_ascii=False))
        elif as_csv:
            cells = ([*(_name(row, name) for name in names), *(_number(row[one]) for one in _SUMS)] for row in rows)
            put(sheet([*names, *_SUMS], cells).rstrip("\r\n"))
        else:
            lines = [[*(_shown(_name(row, name)) for name in names), *_figures(row)] for row in rows]
            _put_lines([*names, "attempts", "tokens in", "tokens out", "USD", "wasted"], lines, left=names)
        _tell_total(first)


@spend.command("compare")
def compare(
    *,
    against: Annotated[
        str | None, typer.Option(help="provider/model, commas between; default: every configured deployment.")
    ] = None,
    since: Since = "30d",
    until: Until = None,
    project: Project = None,
    provider: Provider = None,
    model: Model = None,
    route: Route = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
    key: ApiKey = None,
) -> None:
    """What the same traffic would have cost elsewhere, the cheapest first.

    A line is: deployment, US dollars, by how much that differs from what was paid, and what is approximated.
    """
    asked = {
        "against": against,
        "since": since,
        "until": until,
        "project": project,
        "provider": provider,
        "model": model,
        "route": route,
    }
    with errors_told(as_json=as_json):
        _one_form(as_csv=as_csv, as_json=as_json)
        found = _ask(url, "/v1/spend/compare", _key(admin_key, key), asked)
        rows = [[one["deployment"], one["cost"], one["difference"], "; ".join(one["notes"])] for one in found["rows"]]
        columns = ["deployment", "cost", "difference", "notes"]
        _put_rows(found, columns, rows, {"cost", "difference"}, as_csv=as_csv, as_json=as_json)
        seen = found["seen"]
        people.print(f"paid: {_money(seen['cost'])} USD for {seen['attempts']} attempts", markup=False)
        for words in found["approximated"]:
            people.print(f"approximated: {words}", style="dim", markup=False)


@spend.command("drafts")
def drafts(
    *,
    since: Since = "30d",
    until: Until = None,
    project: Project = None,
    route: Route = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
    key: ApiKey = None,
) -> None:
    """What verifiers said of answers, what that cost, and what the verifier alone would have cost.

    A line is: route, how many were accepted, corrected, replaced and not to be read, the share accepted, US dollars of
    the drafts and of their verification, the verifier's deployment, what it alone would have cost, and what was saved.
    """
    asked = {"since": since, "until": until, "project": project, "route": route}
    with errors_told(as_json=as_json):
        _one_form(as_csv=as_csv, as_json=as_json)
        found = _ask(url, "/v1/spend/drafts", _key(admin_key, key), asked)
        rows = [
            [
                *(one[name] for name in _SAID),
                *(_share(one["agreement"]), one["drafts"]["cost"], one["verification"]),
                *(each["deployment"], each["cost"], each["difference"]),
            ]
            for one in found["rows"]
            for each in one["alone"]
        ]
        columns = [*_SAID, "agreement", "drafts", "verification", "verifier", "alone", "saved"]
        numbers = {"drafts", "verification", "alone", "saved"}
        _put_rows(found, columns, rows, numbers, as_csv=as_csv, as_json=as_json)
        for words in found["approximated"]:
            people.print(f"approximated: {words}", style="dim", markup=False)


@spend.command("forecast")
def forecast(
    *,
    project: Project = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    admin_key: AdminKey = None,
    key: ApiKey = None,
) -> None:
    """Where each budget, and all spend, will be at the end of its window.

    A line is: payer, name, its project, window, its start and end, budget, whether it only warns, spent, US dollars an
    hour, at the end, and when it is used up.
    """
    with errors_told(as_json=as_json):
        _one_form(as_csv=as_csv, as_json=as_json)
        found = _ask(url, "/v1/spend/forecast", _key(admin_key, key), {"project": project})
        names = list(Projection.model_fields)
        rows = [[_moment(one[name]) if name in _MOMENTS else one[name] for name in names] for one in found["rows"]]
        numbers = {"budget", "spent", "rate", "projected"}
        _put_rows(found, names, rows, numbers, as_csv=as_csv, as_json=as_json)
        people.print(f"expected: {found['method']}", style="dim", markup=False)


def _key(admin: str | None, key: str | None) -> str:
    found = admin or key
    if not found:
        remedy = "set PENSTOCK_ADMIN_KEY, or PENSTOCK_KEY to a project's key"
        raise InvalidRequest("there is no key", field="key", remedy=remedy)
    return found


def _one_form(*, as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise InvalidRequest("--csv and --json are two forms of one answer", field="csv", remedy="say one of them")


def _ask(url: str, path: str, key: str, asked: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in asked.items() if value is not None}
    return ask(url, "GET", f"{path}?{urlencode(told)}", key)


def _pages(url: str, key: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    after = None
    while True:
        page = _ask(url, "/v1/spend", key, {**asked, "limit": PAGE, "after": after})
        yield page
        after = page["after"]
        if after is None:
            return


def _put_rows(
    found: dict[str, Any],
    columns: Sequence[str],
    rows: list[list[Any]],
    numbers: set[str],
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    if as_json:
        put(json.dumps(found, ensure_ascii=False))
        return
    kinds: list[Callable[[Any], Any]] = [_number if name in numbers else lambda value: value for name in columns]
    if as_csv:
        cells = ([kind(value) for kind, value in zip(kinds, row, strict=True)] for row in rows)
        put(sheet(columns, cells).rstrip("\r\n"))
        return
    lines = [
        [_shown(_money(value) if name in numbers else value) for name, value in zip(columns, row, strict=True)]
        for row in rows
    ]
    _put_lines(columns, lines, left=set(columns) - numbers)


def _put_lines(columns: Sequence[str], lines: list[list[str]], *, left: Collection[str]) -> None:
    """For a program lines with tabs; for somebody at a terminal a table, without what would not fit there anyway."""
    if not sys.stdout.isatty():
        for cells in lines:
            put("\t".join(cells).rstrip())
        return
    kept = [index for index, name in enumerate(columns) if name not in _WIDE]
    shown = [[cells[index] for index in kept] for cells in lines]
    put_table(
        [_WORDS.get(columns[index], columns[index]) for index in kept],
        shown,
        left={_WORDS.get(one, one) for one in left},
    )


def _tell_total(found: dict[str, Any]) -> None:
    total = found["total"]
    table = Table(show_header=False, box=None, pad_edge=False)
    told = {
        "spent": f"{_money(total['cost'])} USD in {total['attempts']} attempts",
        "wasted": f"{_money(total['waste'])} USD by attempts that did not win" if Decimal(total["waste"]) else "",
        "tokens": f"{total['input']} in ({total['cache_read']} from caches), {total['output']} out",
        "not priced": f"{total['unpriced']} attempts: their cost is in no sum" if total["unpriced"] else "",
        "read up to": _moment(found["through"]) or "nothing yet",
    }
    for name, value in told.items():
        if value:
            table.add_row(name, value)
    people.print(table)


def _figures(row: dict[str, Any]) -> list[str]:
    return [*(str(row[name]) for name in ("attempts", "input", "output")), _money(row["cost"]), _money(row["waste"])]


def _name(row: dict[str, Any], name: str) -> Any:
    return _moment(row[name]) if name in _TIMES else row[name]


def _shown(value: Any) -> str:
    """One cell of a line: what would break the line, or move the terminal's cursor, does not get there."""
    if value is None or value == "":
        return "-"
    return "".join(one if one.isprintable() else "�" for one in str(value))


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _money(value: Any) -> Any:
    """As exact as it is, without zeros that say nothing."""
    return None if value is None else f"{Decimal(value).normalize():f}"


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
