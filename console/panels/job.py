"""One job: where it is and why, or how it ended; its times, its attempts, and why each went where it went."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from console.asking import Declined
from console.panels import Action, Desks, Panel
from console.panels.jobs import cancel_one
from console.timeline import timeline
from job_contracts.finding import AskJob
from job_contracts.results import cost_of_all

if TYPE_CHECKING:
    from console.people import Person

EVERY = 2.0


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    project = query.get("project", "").strip() if person.project is None else person.project
    job = query.get("id", "").strip()
    if not project or not job:
        raise Declined("Name a job: every job's name in a list leads here")
    found = await desks.asking.job(AskJob(project=project[:200], job=job[:256]))
    attempts = found.attempts if found.status is not None else () if found.result is None else found.result.attempts
    return {
        "acts": person.may("operator"),
        "query": query,
        "project": project,
        "job": job,
        "found": found,
        "attempts": attempts,
        "spent": cost_of_all(attempts) if attempts else None,
        "line": timeline(found),
    }


JOB = Panel(
    "job",
    "Job",
    "",
    _read,
    every=EVERY,
    seen_by="all",
    actions=MappingProxyType({"cancel": Action("operator", cancel_one)}),
)
