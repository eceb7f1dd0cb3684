"""``penstock jobs explain``: why a job is where it is, and why its attempts went where they went."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from job_contracts.codec import encode
from producer_sdk.cli.arguments import ApiKey, AsJson, Project, Url
from producer_sdk.cli.decisions import printable, put_decision
from producer_sdk.cli.showing import errors_told, finish, people, put, put_table
from producer_sdk.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.results import AttemptRecord
    from producer_sdk.explaining import Explanation

_COLUMNS = ("attempt", "deployment", "seconds", "first token", "in", "out", "USD", "end")


def explain(
    job: Annotated[str, typer.Argument(help="The id that submit printed.")],
    *,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Why a job is where it is: what it waits for, where it would go and why not elsewhere, and its attempts so far.

    Of a job that is under way or has ended: its attempts, how they ended, and what decided where they went.
    """
    with errors_told(as_json=as_json):

        async def work() -> Explanation:
            async with Producer(url, api_key, project=project) as producer:
                return await producer.attach(job).explain()

        found = finish(work())
        if as_json:
            put(json.dumps(as_object(found), ensure_ascii=False))
        else:
            show(found)


def as_object(found: Explanation) -> dict[str, Any]:
    """Everything that is known, in the words of ``GET /v1/jobs/{id}/explain``."""
    status = found.status
    told = json.loads(encode(status))
    names = ("route", "lane", "position", "eta", "waiting_for", "deadline", "estimated_cost", "worst_cost")
    return {
        "id": status.job,
        "state": status.state.value,
        "because": found.because,
        **{name: told.get(name) for name in names},
        "decision": None if found.decision is None else json.loads(encode(found.decision)),
        "dispatches": status.attempts,
        "deployment": status.deployment,
        "attempts": [json.loads(encode(attempt)) for attempt in found.attempts],
    }


def show(found: Explanation) -> None:
    """For people: in words, then the decision as a table, then a line for each attempt."""
    status = found.status
    put(f"{status.job}: {printable(found.because)}")
    facts = {
        "route": f"{status.route}{f', lane {status.lane}' if status.lane else ''}",
        "submitted": _moment(status.submitted),
        "likely to cost": _dollars(status.estimated_cost),
        "at most": _dollars(status.worst_cost),
        "cost": "" if found.result is None else _dollars(found.result.cost),
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    people.print(table)
    if found.result is None and found.decision is not None:
        waits = status.deployment is None
        put("where it would go now:" if waits else f"why it went to {status.deployment}:")
        put_decision(found.decision)
    _show_attempts(found.attempts)


def _show_attempts(attempts: Sequence[AttemptRecord]) -> None:
    if not attempts:
        return
    put_table(_COLUMNS, [_row(attempt) for attempt in attempts], left={"deployment", "end"})
    for before, attempt in zip((None, *attempts), attempts, strict=False):
        if before is not None and before.deployment != attempt.deployment:
            why = "" if before.failure is None else f" after {before.failure.kind.value}"
            put(f"attempt {attempt.number} switched from {before.deployment} to {attempt.deployment}{why}")
        if attempt.decision is not None:
            put(f"why attempt {attempt.number} went to {attempt.deployment}:")
            put_decision(attempt.decision)
        if attempt.failure is not None:
            put(f"attempt {attempt.number} failed, {attempt.failure.kind.value}: {printable(attempt.failure.message)}")


def _row(attempt: AttemptRecord) -> list[str]:
    failure, usage = attempt.failure, attempt.usage
    return [
        str(attempt.number),
        attempt.deployment,
        f"{attempt.seconds:.2f}",
        "-" if attempt.first_token is None else f"{attempt.first_token:.2f}",
        str(usage.input),
        str(usage.output),
        "-" if attempt.cost is None else f"{attempt.cost.normalize():f}",
        "answered" if failure is None else failure.kind.value,
    ]


def _dollars(amount: Any) -> str:
    return "" if amount is None else f"{amount.normalize():f} USD"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
