"""Dead letters by cause, each cause's letters, and one letter; replayed or discarded after they were counted.

Whoever holds a project's key meets that project's letters alone: reading and acting put it into every question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from console.asking import Declined, NoAnswer, fault
from console.filters import address, place
from console.panels import Action, Amiss, Desks, Panel
from job_contracts.dead import (
    MAX_NAMES,
    NOBODY,
    Act,
    AskCauses,
    AskDeadLetter,
    AskDeadLetters,
    AskHandle,
    Cause,
    HandledUpTo,
    OfProject,
    added,
    ranked,
)
from job_contracts.letters import AnyState
from job_contracts.operating import AskNote

if TYPE_CHECKING:
    from console.people import Person

EVERY = 10.0
"""Seconds between two states: for each the leader looks at all it remembers of letters."""
LOOKING = 2.0
"""Seconds after which no further answer is added up: then a page says that there are more."""
MOST_CAUSES = 2_000
"""Causes after which the same."""
SHOWN = 200
"""Causes on a page."""
LISTED = 50
"""Letters on a page."""
RATE = 100.0
"""Letters handled a second at most, as ``penstock dead replay`` does: they compete with what is submitted meanwhile."""
SPEND = 10.0
"""Seconds for which one request goes on; what is left is for the next."""
STATES: tuple[AnyState, ...] = get_args(AnyState)
FILTERS = ("project", "route", "fingerprint")

# -------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Sum:
    """Letters added up to ``place``; ``whole``: nothing that was asked for lies behind it."""

    causes: list[Cause]
    place: int
    whole: bool

    @property
    def count(self) -> int:
        """Letters."""
        return sum(cause.count for cause in self.causes)

    @property
    def replayable(self) -> int:
        """Those of them that hold a job."""
        return sum(cause.replayable for cause in self.causes)


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    do = query.get("do", "") if query.get("do") in get_args(Act) else ""
    asked = _asked(person, query, counted=bool(do))
    kept = {"project": None if person.project else asked.project, "route": asked.route}
    kept |= {"fingerprint": asked.fingerprint, "state": None if asked.state == "open" else asked.state}
    told: dict[str, Any] = {
        "link": _links(kept),
        "asked": asked,
        "own": person.project,
        "states": STATES,
        "do": do,
        "routes": _routes(desks, person),
        "most_names": MAX_NAMES,
        "nobody": NOBODY,
        "job": query.get("job", "")[:200],
    }
    if told["job"]:
        return {**told, **await _one(desks, asked.project or NOBODY, told["job"])}
    summed = await _summed(desks, asked)
    listed = bool(asked.fingerprint or query.get("letters"))
    letters, after = await _page(desks, asked, place(query, "after") or 0) if listed else ([], None)
    act = {"count": summed.count, "replayable": summed.replayable, "until": summed.place, "exact": summed.whole}
    return {
        **told,
        "one": None,
        "summed": summed,
        "causes": summed.causes[:SHOWN],
        "listed": listed,
        "letters": letters,
        "after": after,
        "act": act if asked.state == "open" else None,
    }


async def _one(desks: Desks, project: str, job: str) -> Mapping[str, Any]:
    found = await desks.asking.dead_letter(AskDeadLetter(project=project, job=job))
    letter = found.letter
    is_open = letter is not None and letter.state == "open"
    act = {"count": 1, "replayable": int(letter.replayable), "until": found.seq, "exact": True} if letter else None
    return {"one": letter, "project": project, "listed": False, "act": act if is_open else None}


async def _summed(desks: Desks, asked: AskCauses) -> Sum:
    """Answer by answer, up to what there was at the first one, as far as the time goes."""
    begun, found = asyncio.get_running_loop().time(), dict[str, Cause]()
    while True:
        answer = await desks.asking.dead_causes(asked)
        added(found, answer.causes)
        late = asyncio.get_running_loop().time() - begun >= LOOKING or len(found) >= MOST_CAUSES
        if late or not answer.more:
            return Sum(ranked(found), answer.after, not answer.more)
        until = answer.last if asked.until is None else asked.until
        asked = asked.model_copy(update={"after": answer.after, "until": until})


async def _page(desks: Desks, asked: AskCauses, after: int) -> tuple[list[OfProject], int | None]:
    """Letters behind a place, oldest first, and where the next page begins, if there is one."""
    begun, found = asyncio.get_running_loop().time(), list[OfProject]()
    fields = asked.model_dump(exclude={"after", "version"})
    while True:
        page = AskDeadLetters(**fields, after=after, limit=LISTED - len(found))
        answer = await desks.asking.dead_letters(page)
        found += answer.letters
        after = answer.after
        late = asyncio.get_running_loop().time() - begun >= LOOKING
        if late or not answer.more or len(found) >= LISTED:
            return found, after if answer.more else None


def _asked(person: Person, query: Mapping[str, str], *, counted: bool) -> AskCauses:
    """What the address narrows it to; ``counted``: it is to be acted on, which only open ones are."""
    given = {name: query[name].strip()[:200] or None for name in FILTERS if name in query}
    asked: dict[str, Any] = {**given, "project": person.project or given.get("project")}
    if counted:
        asked["until"] = place(query, "until")
    elif query.get("state") in STATES:
        asked["state"] = query["state"]
    return AskCauses(**asked)


def _links(kept: Mapping[str, str | None]) -> Callable[..., str]:
    """Makes addresses that keep the filters but for what is said."""

    def link(path: str = "/dead", **over: object) -> str:
        return address(path, {name: None if value == "" else value for name, value in {**kept, **over}.items()})

    return link


def _routes(desks: Desks, person: Person) -> list[str]:
    """Routes that letters may be replayed on."""
    rules = desks.config.projects.get(person.project or "")
    may = desks.config.routes if rules is None or rules.routes is None else rules.routes
    bound = person.scope.routes if person.scope is not None else None
    return [name for name in sorted(may) if bound is None or name in bound]


# --------------------------------------------------------------------------------------------------------------- acting


@dataclass(slots=True)
class Tally:
    """What one request came to."""

    done: int = 0
    already: int = 0
    failed: int = 0
    whole: bool = False
    """Whether all that was counted was looked at."""
    why: dict[str, int] = field(default_factory=dict)
    """Reasons, of those that are told one by one."""
    stopped: str = ""
    """Why it went no further, where the desk did not go on."""

    @property
    def seen(self) -> int:
        """Letters that were looked at."""
        return self.done + self.already + self.failed

    def add(self, answer: HandledUpTo) -> None:
        """One answer more."""
        self.done, self.already = self.done + answer.done, self.already + answer.already
        self.failed, self.whole = self.failed + answer.failed, not answer.more
        for one in answer.failures:
            words = one.failure.message if one.failure is not None else "for a reason that was not told"
            self.why[words] = self.why.get(words, 0) + 1

    def told(self, done: str, count: int) -> str:
        """In words."""
        words = [f"{done} {_letters(self.done)}"]
        words += [f"{self.already:,} had changed before"] if self.already else []
        words += [f"{self.failed:,} stay as they were ({'; '.join([*self.why][:3])})"] if self.failed else []
        words += [f"then {self.stopped}"] if self.stopped else []
        left = max(0, count - self.seen)
        words += [] if self.whole else [f"{left:,} remain: press again to go on"]
        return "; ".join(words)


async def _replay(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    return await _act("replay", desks, person, form)


async def _discard(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    return await _act("discard", desks, person, form)


async def _act(do: Act, desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    """Note it, do it as far as the time goes, note what came of it."""
    asked, count = _order(do, desks, person, form), place(form, "count") or 0
    about = asked.model_dump(include={"project", "route", "fingerprint", "onto", "until"}, exclude_none=True)
    detail = {**{name: str(value) for name, value in about.items()}, "letters": str(count)}
    name = asked.job or asked.fingerprint or asked.project or "all"
    note = AskNote(by=person.name, did=do, on="letters", name=name, why=asked.why, detail=detail)
    try:
        await desks.asking.note(note)
    except NoAnswer as error:
        raise NoAnswer(f"the audit did not take it, and nothing was done: {error}") from error
    tally = await _handled(desks, asked)
    done = "replayed" if do == "replay" else "discarded"
    words = tally.told(done, count)
    came = {"done": str(tally.done), "already": str(tally.already), "failed": str(tally.failed)}
    try:
        await desks.asking.note(note.model_copy(update={"did": done, "detail": {**detail, **came}}))
    except (NoAnswer, Declined) as error:
        words += f"; the audit has only that it was begun: {error}"
    return words


async def _handled(desks: Desks, asked: AskHandle) -> Tally:
    """Answer after answer, no faster than ``RATE``. What was done before somebody did not answer stays told."""
    clock, tally = asyncio.get_running_loop().time, Tally()
    begun = clock()
    while True:
        try:
            answer = await desks.asking.dead_handle(asked)
        except (NoAnswer, Declined) as error:
            if isinstance(error, Declined) and not tally.seen:
                raise
            tally.stopped = str(error)
            return tally
        tally.add(answer)
        if tally.whole or clock() - begun >= SPEND:
            return tally
        asked = asked.model_copy(update={"after": answer.after})
        await asyncio.sleep(max(0.0, begun + tally.seen / RATE - clock()))


def _order(do: Act, desks: Desks, person: Person, form: Mapping[str, str]) -> AskHandle:
    """What a form asks for. Raises Amiss."""
    given: dict[str, Any] = {name: form[name].strip() or None for name in (*FILTERS, "job") if name in form}
    until, why, onto = place(form, "until"), form.get("why", "").strip(), form.get("onto", "").strip()
    if until is None:
        raise Amiss("count them first")
    if do == "discard" and not why:
        raise Amiss("say why they are discarded: it stays with the letters")
    if do == "replay":
        _checked_route(onto or given.get("route"), onto, _routes(desks, person), person)
    try:
        whose = person.project or given.get("project")
        return AskHandle(do=do, **{**given, "project": whose}, until=until, onto=onto or None, why=why)
    except ValidationError as error:
        raise Amiss(fault(error)) from error


def _checked_route(target: str | None, onto: str, may: list[str], person: Person) -> None:
    """A key that may use some routes alone replays to those alone. Raises Amiss."""
    bound = person.scope is not None and person.scope.routes is not None
    if (onto or bound) and target not in may:
        raise Amiss(f"choose the route: one of {', '.join(may)}")


def _letters(count: int) -> str:
    return f"{count:,} letter{'' if count == 1 else 's'}"


DEAD = Panel(
    "dead",
    "Dead letters",
    "d",
    _read,
    every=EVERY,
    seen_by="all",
    actions=MappingProxyType({"replay": Action("operator", _replay), "discard": Action("operator", _discard)}),
)
