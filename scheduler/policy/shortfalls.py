"""Why those that pay for a job do not let it go somewhere: never, or not yet, in words and with the sums."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from job_contracts.money import WINDOWS
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import spent_on, usd, worst
from scheduler.policy.purses import ends, hour_of

if TYPE_CHECKING:
    from scheduler.policy.domains import Tokens
    from scheduler.policy.jobs import Job
    from scheduler.policy.payers import Amounts, Payer
    from scheduler.policy.purses import Cell
    from scheduler.policy.turns import Deployment, Route
    from scheduler.policy.world import World

UNTRUSTED = "the spend so far is being read"

_EACH = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month", "total": "in total"}


def hopeless(world: World, job: Job, deployment: Deployment, now: float) -> str | None:
    """Why the job can never go there, as far as money is concerned, ``None`` if it may."""
    if not job.priced:
        return None
    accounts = world.accounts
    wall = accounts.wall(now)
    cost = worst(job, deployment, wall)
    if cost is None:
        return _unknown(job)
    if job.max_cost is not None:
        reason = _too_dear(world, job, cost, job.max_cost, wall)
        if reason is not None:
            return reason
    for payer, amounts in () if job.wallet is None else job.wallet.hard:
        cells = payer.purse.cells(wall)
        for index, amount in amounts:
            if cost > amount:
                budget = f"the whole budget of {payer.label} ({usd(amount)} {_EACH[WINDOWS[index]]})"
                return f"it may cost up to {usd(cost)}, which is more than {budget}"
            if accounts.trusted and cells[index].spent + cost > amount:
                end = ends(hour_of(wall))[index]
                if wall + (job.deadline - now) <= end:
                    late = f"there is room only at {_moment(end)}, after its deadline"
                    room = "it will never have room" if end == NEVER else late
                    return f"{_sums(payer, cells[index], index, amount, cost)}; {room}"
    return None


def _too_dear(world: World, job: Job, cost: int, most: int, wall: float) -> str | None:
    spent = spent_on(job, world.deployments, wall)
    if spent is None:
        return f"it has a max_cost of {usd(most)}, and what its attempts so far have cost is not known"
    if spent + cost > most:
        before = f" beside {usd(spent)} for its attempts so far" if spent else ""
        return f"it may cost up to {usd(cost)}{before}, which is more than its max_cost of {usd(most)}"
    return None


def _unknown(job: Job) -> str:
    if job.max_cost is not None:
        why = "it has a max_cost"
    else:
        hard = job.wallet.hard if job.wallet is not None else ()
        why = f"{hard[0][0].label} has a hard budget" if hard else "it has a hard budget"
    return f"what it may cost there is not known (no price, or no bound on its length), and {why}"


def until(payer: Payer, amounts: Amounts, cost: int, wall: float) -> tuple[bool, float]:
    """Whether there is room in all windows of ``wall``, and if only their end gives any, when that is; else 0."""
    cells = payer.purse.cells(wall)
    room, latest = True, 0.0
    for index, amount in amounts:
        cell = cells[index]
        if cell.spent + cell.reserved + cost > amount:
            room = False
            if cell.spent + cost > amount:
                latest = max(latest, ends(hour_of(wall))[index])
    return room, latest


def unaffordable(job: Job, route: Route, reasons: list[tuple[str, str]]) -> Failure:
    """Money keeps the job from all deployments that are left to it; ``reasons`` by deployment."""
    texts = list(dict.fromkeys(reason for _, reason in reasons))
    told = texts[0] if len(texts) == 1 else "; ".join(f"{name}: {reason}" for name, reason in reasons[:12])
    bound = job.max_cost is not None and any("max_cost" in text for text in texts)
    return Failure(
        kind=FailureKind.BUDGET,
        message=f"this job may not run at any deployment of route {route.name!r}: {told}",
        field="max_cost" if bound else "project",
        remedy="ask for fewer output tokens (max_output) or a shorter prompt, use a route to a cheaper model whose "
        "price is known, give it a later deadline, or "
        + ("allow it a larger max_cost" if bound else "ask the operator for a larger budget"),
    )


def shortfall(world: World, job: Job, deployment: Deployment, tokens: Tokens, now: float) -> tuple[str, float]:
    """What payers lack for the job there now ("" if nothing), and for how many seconds at least."""
    wallet, accounts = job.wallet, world.accounts
    if wallet is None or not wallet.binds:
        return "", 0.0
    if wallet.hard and not accounts.trusted:
        return UNTRUSTED, NEVER
    wall = accounts.wall(now)
    cost = worst(job, deployment, wall) or 0
    for payer, amounts in wallet.hard:
        room, end = until(payer, amounts, cost, wall)
        if room:
            continue
        cells = payer.purse.cells(wall)
        for index, amount in amounts:
            cell = cells[index]
            if cell.spent + cell.reserved + cost > amount:
                text = _sums(payer, cell, index, amount, cost)
                if end:
                    return f"{text}; the window ends at {_moment(end)}", end - wall
                return f"{text}; it waits for attempts to end", NEVER
    for payer, quota in wallet.quotas:
        pause = quota.wait(tokens, 1, now)
        if pause == NEVER:
            return f"{payer.label} has as many attempts under way as it may have ({quota.domain.slots.used})", NEVER
        if pause > 0:
            units = " and ".join(unit.replace("_", " ") for unit in quota.domain.buckets)
            return f"the limit of {units} of {payer.label} has room in {pause:.1f} s", pause
    return "", 0.0


def _sums(payer: Payer, cell: Cell, index: int, amount: int, cost: int) -> str:
    reserved = f" and {usd(cell.reserved)} is reserved for attempts under way" if cell.reserved else ""
    return (
        f"{payer.label} may spend {usd(amount)} {_EACH[WINDOWS[index]]}: {usd(cell.spent)} is spent{reserved}, and "
        f"this job may cost up to {usd(cost)}"
    )


def _moment(wall: float) -> str:
    return "no time" if wall == NEVER else f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M} UTC"
