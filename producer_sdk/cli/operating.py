"""``penstock pools``, ``limits`` and ``audit``: what the leader sees, orders to it, and who gave them."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from job_contracts.codec import ContractError, check, encode
from job_contracts.operating import (
    Aim,
    AskAudit,
    AskOrder,
    AuditLine,
    AuditPage,
    Doing,
    Ordered,
    Overview,
    Rates,
)
from producer_sdk.cli.arguments import AsJson, Url
from producer_sdk.cli.durations import seconds
from producer_sdk.cli.operating_tables import limits_table, pools_table
from producer_sdk.cli.operating_views import apart, audit_line
from producer_sdk.cli.operators import operators
from producer_sdk.cli.showing import errors_told, finish, may_go_on, people, put, put_parts, width_here
from producer_sdk.errors import InvalidRequest

_LOGIN = "With the services' login in --url."
pools = typer.Typer(help=f"The pools of workers: how they stand, and who may get work. {_LOGIN}")
limits = typer.Typer(help=f"Limits of providers and projects: what is left, and others in their place. {_LOGIN}")

Target = Annotated[str, typer.Argument(help="A pool (the provider's name) or one deployment (provider/model).")]
Deployment = Annotated[str, typer.Argument(help="A deployment (provider/model) of a route that goes by weights.")]
Limit = Annotated[str, typer.Argument(help="As penstock limits names it: a provider's, or project:NAME.")]
Lasting = Annotated[str, typer.Option("--for", help="How long: 90s, 15m, 6h, 2d.")]
Why = Annotated[str, typer.Option(help="For the audit, and for those whose jobs wait.")]
By = Annotated[str | None, typer.Option(help="Who orders it; else the user of this machine.", envvar="PENSTOCK_USER")]
For = Annotated[str | None, typer.Option("--for", help="Ends by itself after: 90s, 15m, 6h, 2d.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
Per = Annotated[float | None, typer.Option(min=0.001, help="Per minute.")]


async def _overview(url: str | None) -> Overview:
    async with operators(url) as ask:
        return await ask("overview", None, Overview)


async def _order(url: str | None, order: AskOrder) -> Ordered:
    async with operators(url) as ask:
        return await ask("order", order, Ordered)


@pools.callback(invoke_without_command=True)
def list_pools(context: typer.Context, *, as_json: AsJson = False, url: Url = None) -> None:
    """Each pool: live workers and slots, attempts in flight, jobs that wait by lane, the oldest, what is ordered."""
    if context.invoked_subcommand is None:
        with errors_told(as_json=as_json):
            told = finish(_overview(url))
            if as_json:
                for pool in told.pools:
                    put(encode(pool).decode())
            else:
                put_parts(pools_table(told, width_here()))
                for line in apart(told):
                    put(line)


@limits.callback(invoke_without_command=True)
def list_limits(context: typer.Context, *, as_json: AsJson = False, url: Url = None) -> None:
    """Each limit and what it meters: as it is in force and as configured, what is left now and what is reserved."""
    if context.invoked_subcommand is None:
        with errors_told(as_json=as_json):
            told = finish(_overview(url))
            if as_json:
                for limit in (*told.limits, *told.projects):
                    put(encode(limit).decode())
            else:
                put_parts(limits_table(told, width_here()))


@pools.command("pause")
def pause(
    target: Target,
    *,
    why: Why = "",
    by: By = None,
    lasts: For = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Give nothing new to a pool or deployment. What is under way goes on, what waits keeps its place."""
    _told("pause", _aim(target), target, why=why, by=by, lasts=lasts, as_json=as_json, url=url)


@pools.command("drain")
def drain(
    target: Target,
    *,
    why: Why = "",
    by: By = None,
    lasts: For = None,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """As pause, for long: what waits goes anywhere its route has. Empty when nothing is in flight any more."""
    with errors_told(as_json=as_json):
        may_go_on(f"give nothing more to {target}?", sure=yes)
    _told("drain", _aim(target), target, why=why, by=by, lasts=lasts, as_json=as_json, url=url)


@pools.command("resume")
def resume(target: Target, *, why: Why = "", by: By = None, as_json: AsJson = False, url: Url = None) -> None:
    """Let a pool or deployment have work again."""
    _told("resume", _aim(target), target, why=why, by=by, as_json=as_json, url=url)


@pools.command("weigh")
def weigh(
    deployment: Deployment,
    factor: Annotated[float, typer.Argument(min=0, max=1000, help="Times the configured weight: 0.1, 0, 3.")],
    *,
    lasts: Lasting,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Multiply a deployment's weight in all weighted routes for a while; 0: only where there is no other."""
    _told("weigh", "weight", deployment, why=why, by=by, lasts=lasts, factor=factor, as_json=as_json, url=url)


@pools.command("restore")
def restore_weight(
    deployment: Deployment, *, why: Why = "", by: By = None, as_json: AsJson = False, url: Url = None
) -> None:
    """Let a deployment have its configured weight again."""
    _told("restore", "weight", deployment, why=why, by=by, as_json=as_json, url=url)


@limits.command("override")
def override(
    limit: Limit,
    *,
    lasts: Lasting,
    rpm: Per = None,
    input_tpm: Per = None,
    output_tpm: Per = None,
    tpm: Per = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Calls at once.")] = None,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Hold to other limits for a while, in place of the configured ones and of any override before."""
    rates = Rates(rpm=rpm, input_tpm=input_tpm, output_tpm=output_tpm, tpm=tpm, concurrency=concurrency)
    _told("override", "limit", limit, why=why, by=by, lasts=lasts, rates=rates, as_json=as_json, url=url)


@limits.command("restore")
def restore(limit: Limit, *, why: Why = "", by: By = None, as_json: AsJson = False, url: Url = None) -> None:
    """Hold to the configured limits again."""
    _told("restore", "limit", limit, why=why, by=by, as_json=as_json, url=url)


def audit(
    *,
    most: Annotated[int, typer.Option("--limit", min=1, help="Records at most, newest first.")] = 50,
    on: Annotated[str | None, typer.Option(help="pool, deployment, limit, weight, or what else things are.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the thing.")] = None,
    by: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Who ordered what, when and why, newest first. With the services' login in --url."""

    async def work() -> list[AuditLine]:
        found: list[AuditLine] = []
        below: int | None = None
        async with operators(url) as ask:
            while len(found) < most:
                asked = AskAudit(below=below, limit=min(most - len(found), 200), on=on, name=name, by=by)
                page = await ask("audit", asked, AuditPage)
                found += page.lines
                below = page.below
                if below is None:
                    break
        return found

    with errors_told(as_json=as_json):
        found = finish(work())
        for line in found:
            put(encode(line).decode() if as_json else audit_line(line))
        if not found:
            people.print("nothing", style="dim")


def _aim(target: str) -> Aim:
    return "deployment" if "/" in target else "pool"


def _told(
    do: Doing,
    aim: Aim,
    name: str,
    *,
    why: str,
    by: str | None,
    lasts: str | None = None,
    rates: Rates | None = None,
    factor: float | None = None,
    as_json: bool,
    url: str | None,
) -> None:
    """Give an order and say what became of it."""
    with errors_told(as_json=as_json):
        values = {
            "do": do,
            "aim": aim,
            "name": name,
            "by": by or getpass.getuser(),
            "why": why,
            "lasts": None if lasts is None else seconds(lasts, "for"),
            "limits": rates,
            "factor": factor,
        }
        try:
            asked = check(AskOrder, values)
        except ContractError as error:
            raise InvalidRequest(str(error), field=error.field, remedy=error.remedy) from error
        done = finish(_order(url, asked))
        if as_json:
            put(encode(done).decode())
        elif done.changed and done.line is not None:
            put(audit_line(done.line))
        else:
            put(f"{name}: nothing to {do}" if done.line is None else f"{name}: so already: {audit_line(done.line)}")
