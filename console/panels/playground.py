"""A prompt, and up to four models that answer it side by side. Whose budget pays is said, and kept to.

Neither what is asked nor what is answered is kept, noted or told to the log: it is in the job, as any producer's is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from console.asking import Declined, NoAnswer
from console.live import event
from console.pages import money, number, span
from console.panels import Amiss, Desks, Panel, Stream
from console.playing import MOST_MODELS, Answer, Asked, Beyond, Purse, Refusal, merged
from job_contracts.keys import Scope
from job_contracts.operating import AskNote
from job_contracts.stream import Finished, Queued, ReasoningToken, Started, StreamEvent, Switched, Token

if TYPE_CHECKING:
    from console.people import Person
    from job_contracts.results import Result

MAX_TEXT = 256 * 1024
"""Bytes of prompt and system text together."""
MAX_FORM = 3 * MAX_TEXT + 16 * 1024
"""A form writes a byte in three."""
MAX_NOTED = 500
PING = b": nothing new\n\n"


def _may(person: Person) -> bool:
    """Who holds a project's key spends what they may spend over the API as well, whatever their role here."""
    return person.project is not None or person.may("operator")


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    projects = desks.config.projects
    chosen = person.project or query.get("project", "") or (next(iter(projects)) if len(projects) == 1 else "")
    rules, scope = projects.get(chosen), person.scope or Scope()
    routes = () if rules is None else desks.config.routes if rules.routes is None else rules.routes
    return {
        "may": _may(person),
        "own": person.project is not None,
        "projects": sorted(projects),
        "chosen": chosen if rules is not None else "",
        "routes": sorted(one for one in routes if scope.routes is None or one in scope.routes),
        "scope": scope,
        "most": MOST_MODELS,
    }


async def _play(desks: Desks, person: Person, form: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    try:
        purse, asked = _purse(desks, person, form), _asked(form)
        with desks.playing.place(person.name, purse, len(asked.models)) as place:
            answers = desks.playing.answers(purse, asked)
            place.ended = "refused"
            await _note(desks, person, purse, answers)
            place.ended = "left"
            yield _told([_of(index, "asked", model=one.model, job=one.job) for index, one in enumerate(answers)])
            async with aclosing(_coming(desks, answers)) as pieces:
                async for piece in pieces:
                    yield piece
            place.ended = "done"
    except (NoAnswer, Declined, Amiss, Beyond) as error:
        yield event("refused", f"Nothing was asked: {error}.")


async def _note(desks: Desks, person: Person, purse: Purse, answers: list[Answer]) -> None:
    """Before anything is spent: what cannot be noted is not done.

    Key holders have a history of their own, so that however much they play, what operators spent stays to be read.
    """
    jobs = [one.job for one in answers if one.job is not None]
    if jobs:
        detail = {"models": ", ".join(one.model for one in answers), "jobs": " ".join(jobs)}
        on = "playground" if person.project is None else "own_playground"
        told = {name: words[:MAX_NOTED] for name, words in detail.items()}
        await desks.asking.note(AskNote(by=person.name, did="play", on=on, name=purse.project, detail=told))


async def _coming(desks: Desks, answers: list[Answer]) -> AsyncGenerator[bytes, None]:
    begun, silent = desks.clock.monotonic(), set(range(len(answers)))
    async with aclosing(merged(answers)) as told:
        async for one in told:
            if one is None:
                yield PING
                continue
            index, some = one
            said = [words for each in some if (words := _words(index, each)) is not None]
            if index in silent and any(isinstance(each, Token | ReasoningToken) for each in some):
                silent.discard(index)
                after = f"{number(round(desks.clock.monotonic() - begun, 3))} s"
                said.insert(0, _of(index, "figures", rows=[["first token, from the press", after]]))
            if said:
                yield _told(said)


# --------------------------------------------------------------------------------------------------------------- words


def _words(index: int, one: StreamEvent | Refusal) -> dict[str, Any] | None:
    match one:
        case Token(text=text):
            return _of(index, "text", text=text)
        case ReasoningToken(text=text) if text:
            return _of(index, "reasoning", text=text)
        case Queued():
            return _of(index, "state", words=_waiting(one))
        case Started(deployment=deployment, continues=None):
            return _of(index, "state", words=f"{deployment} answers")
        case Started(deployment=deployment):
            return _of(index, "went on", words=f"{deployment} goes on with what was said")
        case Switched():
            left = f"{one.switched_from or 'an attempt'} was left" + (f" ({one.reason})" if one.reason else "")
            return _of(index, "switched", words=f"{left}; {one.deployment} begins anew")
        case Finished(result=result):
            return _of(index, "ended", words=result.state.value, rows=_figures(result))
        case Refusal(why=why):
            return _of(index, "refused", words=why)
    return None


def _waiting(queued: Queued) -> str:
    words = ["queued"]
    if queued.position is not None:
        words.append(f"{number(queued.position)} before it")
    if queued.eta is not None:
        words.append(f"in about {span(queued.eta)}")
    if queued.worst_cost is not None:
        words.append(f"at most {money(queued.worst_cost)} US dollars")
    return ", ".join(words)


def _figures(result: Result) -> list[list[str]]:
    """As the ledger has them: cost and tokens are those of all attempts together."""
    attempts = result.attempts
    first = attempts[-1].first_token if attempts else None
    estimated = "" if all(one.usage.reported for one in attempts) else " (estimated)"
    return [
        ["deployment", result.deployment or "–"],
        ["first token, from the provider", "–" if first is None else f"{number(first)} s"],
        ["tokens in", number(sum(one.usage.input for one in attempts)) + estimated],
        ["tokens out", number(sum(one.usage.output for one in attempts)) + estimated],
        ["cost", "not known" if result.cost is None else f"{money(result.cost)} US dollars"],
        ["attempts", number(len(attempts))],
        ["ended because", result.finish_reason.value if result.finish_reason is not None else "–"],
    ]


def _of(index: int, what: str, **more: Any) -> dict[str, Any]:
    return {"answer": index, "what": what, **more}


def _told(said: list[dict[str, Any]]) -> bytes:
    return event("told", json.dumps(said))


# ------------------------------------------------------------------------------------------------------------ the form


def _purse(desks: Desks, person: Person, form: Mapping[str, str]) -> Purse:
    if person.project is not None:
        return Purse(person.project, person.key, person.scope or Scope())
    project = form.get("project", "")
    if project not in desks.config.projects:
        raise Amiss("choose the project that pays")
    return Purse(project)


def _asked(form: Mapping[str, str]) -> Asked:
    names = (form.get(f"model_{place}", "").strip() for place in range(1, MOST_MODELS + 1))
    models, prompt, system = tuple(name for name in names if name), form.get("prompt", ""), form.get("system", "")
    if not models:
        raise Amiss("choose a model")
    if not prompt.strip():
        raise Amiss("write a prompt")
    size = len(prompt.encode("utf-8", "replace")) + len(system.encode("utf-8", "replace"))
    if size > MAX_TEXT:
        raise Amiss(f"prompt and system text have {number(size)} bytes, and may have {number(MAX_TEXT)}")
    tokens, warmth = form.get("max_tokens", "").strip(), form.get("temperature", "").strip()
    try:
        return Asked(models, prompt, system, int(tokens) if tokens else None, float(warmth) if warmth else None)
    except ValueError as error:
        raise Amiss("tokens at most is a whole number, and temperature a number") from error


PLAYGROUND = Panel(
    "playground",
    "Playground",
    "y",
    _read,
    group="Models",
    live=False,
    seen_by="all",
    streams=MappingProxyType({"play": Stream(_may, _play, MAX_FORM)}),
    script="playground.js",
)
