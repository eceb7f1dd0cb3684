"""Jobs: those without a result as the leader has them, and those that have ended from the broker itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from console.asking import Declined, NoAnswer, fault
from console.filters import place, wanted
from console.finding import CHOICES, ENDED, ENDS, PAGE, PLAIN, asked, narrowed, of_ended
from console.panels import Action, Amiss, Desks, Panel
from console.records import ended
from job_contracts.finding import MAX_FOUND, AskCancels, AskFind, JobPage, Named
from job_contracts.operating import AskNote

if TYPE_CHECKING:
    from console.people import Person

EVERY = 3.0
"""Seconds between two states: the leader looks at some thousand jobs for one."""
LOOKS = 5
"""Questions for the count that is shown before all that match are cancelled; one for every other page."""
LONGEST = 10.0
"""Seconds that one order to cancel all may take; what remains is told, and may be ordered again."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many match."""

    matching: int
    sure: bool
    """False: at least so many."""
    until: int
    """The newest place there was when they were counted."""


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    values = {
        "acts": person.may("operator"),  # a job's token, which cancels it, is on no page of those who may not
        "query": query,
        "address": lambda **changes: narrowed(query, **changes),
        "view": "ended" if query.get("view") == "ended" else "open",
        "confirm": None,
        "hidden": {},
    }
    told = await (_ended if values["view"] == "ended" else _open)(desks, person, query)
    return {**values, **told}


async def _open(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    question = asked(person, query, desks.clock.wall())
    page = await desks.asking.jobs(question)
    confirms = query.get("ask") == "cancel"
    count = await _count(desks, question, page, looks=LOOKS if confirms else 1)
    given = wanted(query, person, PLAIN)
    hidden = {**given, "until": count.until, "submitted_before": question.submitted_before}
    return {
        "page": page,
        "count": count,
        "older": _older(query, question, page),
        "newer": _newer(query, question, page),
        "fields": [name for name in PLAIN if person.project is None or name != "project"],
        "choices": CHOICES,
        "confirm": count if confirms else None,
        "hidden": {name: value for name, value in hidden.items() if value is not None},
    }


async def _ended(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    found = await ended(desks.bus, of_ended(person, query), below=place(query, "below"), limit=PAGE)
    return {
        "page": found,
        "older": None if found.below is None else narrowed(query, below=found.below),
        "newer": narrowed(query) if query.get("below") else None,
        "fields": [name for name in ENDED if person.project is None or name != "project"],
        "choices": {"state": ENDS},
    }


async def _count(desks: Desks, question: AskFind, first: JobPage, *, looks: int) -> Count:
    """Of all that match, wherever the page is. One from the start on that is not full has counted them already."""
    matching, reached, until = 0, 0, question.until
    if not question.after and question.before is None and len(first.jobs) < question.limit:
        matching, reached, until = first.matching, first.after, first.last if until is None else until
        looks -= 1
        if not first.more:
            return Count(matching, sure=True, until=until)
    for _ in range(looks):
        page = await desks.asking.jobs(
            question.model_copy(update={"limit": 0, "after": reached, "before": None, "until": until})
        )
        until = page.last if until is None else until
        matching, reached = matching + page.matching, page.after
        if not page.more:
            return Count(matching, sure=True, until=until)
    return Count(matching, sure=False, until=until or 0)


def _older(query: Mapping[str, str], question: AskFind, page: JobPage) -> str | None:
    if question.before is not None:
        return narrowed(query, before=page.jobs[0].place if page.jobs else page.after) if page.more else None
    if not question.after:
        return None
    return narrowed(query, before=page.jobs[0].place if page.jobs else question.after + 1)


def _newer(query: Mapping[str, str], question: AskFind, page: JobPage) -> str | None:
    if question.before is not None:
        return narrowed(query, after=page.jobs[-1].place if page.jobs else question.before - 1)
    return narrowed(query, after=page.after) if page.more else None


# ---------------------------------------------------------------------------------------------------------- cancelling


async def cancel_one(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    """One job, as its row or its page names it: ``project/job/token``."""
    project, _, rest = form.get("job", "").partition("/")
    job, _, token = rest.partition("/")
    if not (project and job and token):
        raise Amiss("name the job")
    if person.project is not None and project != person.project:
        raise Amiss("that is another project's job")
    try:
        order = AskCancels(by=person.name, jobs=(Named(project=project, job=job, token=token),))
    except ValidationError as error:
        raise Amiss(fault(error)) from error
    await desks.asking.note(AskNote(by=person.name, did="cancel", on="job", name=f"{project}/{job}"[:200]))
    done = await desks.asking.cancel(order)
    return f"{job}: " + ("the cancel is recorded" if done.told else "it has ended already")


async def _cancel_all(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    """All that match and were there when they were counted, for as long as one request may take.

    Killed in between, some are cancelled, each as a whole; the note that came before says what was begun, and to order
    the same again goes on with the others.
    """
    until = place(form, "until")
    if until is None:
        raise Amiss("count them first")
    try:
        every = {"after": 0, "before": None, "until": until, "limit": MAX_FOUND, "brief": True}
        question = asked(person, form, desks.clock.wall(), **every)
    except Declined as error:
        raise Amiss(str(error)) from error
    what = {name: value[:500] for name, value in wanted(form, person, PLAIN).items()}
    detail = {**what, "until": str(until), "counted": form.get("counted", "")[:40]}
    why = form.get("why", "")[:400]
    await desks.asking.note(AskNote(by=person.name, did="cancel all", on="jobs", name="begun", why=why, detail=detail))
    told, amiss, more = await _told(desks, person, question, why)
    after = {**detail, "cancelled": str(told), "remain": "some" if more else "none"}
    done = AskNote(by=person.name, did="cancel all", on="jobs", name="ended", why=why, detail=after)
    try:
        await desks.asking.note(done)
    except NoAnswer as error:
        amiss = amiss or error
    if amiss is not None:
        raise NoAnswer(f"{told:,} cancels are recorded; then {amiss}", unknown=True) from amiss
    rest = "; some remain, because it took too long: order it again" if more else ""
    return f"{told:,} cancels are recorded{rest}"


async def _told(desks: Desks, person: Person, question: AskFind, why: str) -> tuple[int, NoAnswer | None, bool]:
    """How many were cancelled, what went wrong, and whether some remain."""
    begun, told, more = desks.clock.monotonic(), 0, True
    try:
        while more and desks.clock.monotonic() - begun < LONGEST:
            page = await desks.asking.jobs(question)
            if page.jobs:
                those = tuple(Named(project=one.project, job=one.job, token=one.token) for one in page.jobs)
                told += (await desks.asking.cancel(AskCancels(by=person.name, why=why, jobs=those))).told
            question, more = question.model_copy(update={"after": page.after}), page.more
    except NoAnswer as error:
        return told, error, True
    return told, None, more


JOBS = Panel(
    "jobs",
    "Jobs",
    "j",
    _read,
    every=EVERY,
    seen_by="all",
    actions=MappingProxyType({"cancel": Action("operator", cancel_one), "cancel_all": Action("operator", _cancel_all)}),
)
