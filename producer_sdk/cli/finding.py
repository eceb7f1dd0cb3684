"""``penstock jobs list``: the jobs without a result, as the leader and the console have them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from job_contracts.codec import ContractError, check, encode
from job_contracts.finding import MAX_FOUND, AskFind, JobPage, JobRow
from producer_sdk.cli.arguments import AsJson, Url
from producer_sdk.cli.durations import seconds
from producer_sdk.cli.operating_views import number, span
from producer_sdk.cli.operators import operators
from producer_sdk.cli.showing import errors_told, finish, people, put, put_table
from producer_sdk.errors import InvalidRequest

COLUMNS = ("job", "project", "state", "route", "lane", "deployment", "attempts", "age", "waits for", "key", "tags")
TEXT = ("job", "project", "state", "route", "lane", "deployment", "waits for", "key", "tags")
"""Columns that are no numbers."""

Project = Annotated[str | None, typer.Option(help="Of one project.")]
Route = Annotated[str | None, typer.Option(help="That asked for this route.")]
Lane = Annotated[str | None, typer.Option(help="rt, std, batch or bg.")]
State = Annotated[str | None, typer.Option(help="queued, held, dispatched, or in_line: as the overview counts queued.")]
Pool = Annotated[str | None, typer.Option(help="Under way there, or would go there first.")]
Deployment = Annotated[str | None, typer.Option(help="Likewise.")]
Key = Annotated[str | None, typer.Option("--key", help="Id of the virtual key behind them.")]
Tag = Annotated[str | None, typer.Option(help="name=value.")]
Of = Annotated[str | None, typer.Option("--replay-of", help="Made of this job's dead letter.")]
Older = Annotated[str | None, typer.Option("--older-than", help="Submitted before: 90s, 15m, 6h, 2d.")]
Most = Annotated[int, typer.Option("--limit", min=1, help="Jobs at most, the oldest first.")]
Count = Annotated[bool, typer.Option("--count", help="Only how many there are.")]


def list_jobs(
    *,
    project: Project = None,
    route: Route = None,
    lane: Lane = None,
    state: State = None,
    pool: Pool = None,
    deployment: Deployment = None,
    key: Key = None,
    tag: Tag = None,
    replay_of: Of = None,
    older: Older = None,
    most: Most = 50,
    count: Count = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Jobs without a result, in the order of their submissions. With the services' login in --url."""
    with errors_told(as_json=as_json):
        now = time.time()
        question = _asked(
            project=project,
            route=route,
            lane=lane,
            state=state,
            pool=pool,
            deployment=deployment,
            key=key,
            tag=tag,
            replay_of=replay_of,
            submitted_before=None if older is None else now - seconds(older, "older_than"),
        )
        if count:
            put(str(finish(_counted(url, question))))
            return
        found, unread = finish(_found(url, question, most))
        if as_json:
            for row in found:
                put(encode(row).decode())
        else:
            put_table(COLUMNS, [_cells(row, now) for row in found], left=TEXT)
        if not found:
            people.print("nothing", style="dim")
        if unread:
            people.print(f"about {unread:,} more are queued beyond the index", style="dim")


async def _found(url: str | None, question: AskFind, most: int) -> tuple[list[JobRow], int]:
    """Rows, and how many jobs nobody has looked at."""
    found: list[JobRow] = []
    async with operators(url) as ask:
        while True:
            limit = min(most - len(found), MAX_FOUND)
            page = await ask("jobs", question.model_copy(update={"limit": limit}), JobPage)
            found += page.jobs
            if not page.more or len(found) >= most:
                return found, page.unread
            question = question.model_copy(update={"after": page.after})


async def _counted(url: str | None, question: AskFind) -> int:
    """All that match now; those that come meanwhile are not counted."""
    matching = 0
    question = question.model_copy(update={"limit": 0})
    async with operators(url) as ask:
        while True:
            page = await ask("jobs", question, JobPage)
            matching += page.matching
            if not page.more:
                return matching
            question = question.model_copy(update={"after": page.after, "until": question.until or page.last})


def _asked(**given: Any) -> AskFind:
    try:
        return check(AskFind, {name: value for name, value in given.items() if value is not None})
    except ContractError as error:
        raise InvalidRequest(str(error), field=error.field, remedy=error.remedy) from error


def _cells(row: JobRow, now: float) -> Sequence[str]:
    return (
        *(row.job, row.project, row.state.value, row.route, row.lane, row.deployment or "-"),
        *(number(row.attempts), span(max(0.0, now - row.submitted)), row.waiting_for or "-", row.key or "-"),
        ", ".join(f"{name}={value}" for name, value in row.tags.items()) or "-",
    )
