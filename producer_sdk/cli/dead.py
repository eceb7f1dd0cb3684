"""``penstock dead``: the jobs that were set aside, shown by cause, replayed after a repair, or discarded."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from job_contracts.codec import encode
from job_contracts.dead import AskDeadLetters
from producer_sdk.cli import exits
from producer_sdk.cli.all_letters import all_causes, all_letters
from producer_sdk.cli.arguments import ApiKey, AsJson, Project, Url
from producer_sdk.cli.letters import (
    cause_line,
    counted,
    group_line,
    group_told,
    letter_line,
    letter_table,
    letter_told,
    tally_table,
    tally_told,
)
from producer_sdk.cli.operators import OPERATOR
from producer_sdk.cli.showing import errors_told, finish, may_go_on, people, put
from producer_sdk.errors import InvalidRequest
from producer_sdk.letters import RATE, DeadLetters, Tally
from producer_sdk.nats_transport import NatsTransport
from producer_sdk.producer import DEFAULT_URL, Producer

dead = typer.Typer(help="Jobs that were set aside: look at them, replay or discard them.", no_args_is_help=True)

State = Annotated[Literal["open", "replayed", "discarded", "any"], typer.Option(help="Which letters.")]
Cause = Annotated[str | None, typer.Option("--fingerprint", "-f", help="Those of one cause.")]
Jobs = Annotated[list[str] | None, typer.Argument(help="The jobs' ids, as list prints them.")]
Every = Annotated[bool, typer.Option("--all", help="Every open letter.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
Rate = Annotated[float, typer.Option(min=0.1, help="Letters a second at most.")]
Unreadable = Annotated[
    bool,
    typer.Option("--unreadable", help="Messages that are no jobs; with the services' login in --url."),
]
Everybodys = Annotated[
    bool,
    typer.Option("--all-projects", help="Everybody's, unreadable messages too; with the services' login in --url."),
]

One = Callable[[DeadLetters, str], Awaitable[str]]
"""Acts on one letter; returns what to print beside its job."""
Many = Callable[[DeadLetters, Callable[[Tally], None]], Awaitable[Tally]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flags:
    every: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class _Wish(_Flags):
    verb: Literal["replay", "discard"]
    jobs: list[str]
    fingerprint: str | None


def _producer(url: str | None, key: str | None, project: str | None, *, unreadable: bool = False) -> Producer:
    if unreadable:
        return Producer(transport=NatsTransport(url or DEFAULT_URL, OPERATOR))
    return Producer(url, key, project=project)


@dead.command("list")
def list_(
    *,
    fingerprint: Cause = None,
    letters: Annotated[bool, typer.Option("--letters", help="One line a letter, not one a cause.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Those of jobs for this route.")] = None,
    state: State = "open",
    unreadable: Unreadable = False,
    all_projects: Everybodys = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """The dead letters by cause, most of them first; with --letters or --fingerprint one by one, oldest first.

    A line is: fingerprint, count, when last, kind, where, what. Of a letter: job, when, route, kind, state, what. With
    --all-projects the projects, or the letter's, come before.
    """
    with errors_told(as_json=as_json):

        async def everybodys() -> int:
            asked = AskDeadLetters(state=state, fingerprint=fingerprint, route=model)
            number = 0
            if letters or fingerprint is not None:
                async for letter in all_letters(url, asked):
                    put(encode(letter).decode() if as_json else f"{letter.project}\t{letter_line(letter)}")
                    number += 1
                return number
            for one in await all_causes(url, asked):
                put(encode(one).decode() if as_json else cause_line(one))
                number += one.count
            return number

        async def work() -> int:
            async with _producer(url, api_key, project, unreadable=unreadable) as producer:
                number = 0
                if letters or fingerprint is not None:
                    async for letter in producer.dead.list(state=state, fingerprint=fingerprint, model=model):
                        put(encode(letter).decode() if as_json else letter_line(letter))
                        number += 1
                    return number
                for group in await producer.dead.groups(state=state, model=model):
                    put(json.dumps(group_told(group), ensure_ascii=False) if as_json else group_line(group))
                    number += group.count
                return number

        number = finish(everybodys() if all_projects else work())
        people.print(counted(number, state), style="dim", markup=False)


@dead.command("show")
def show(
    job: Annotated[str, typer.Argument(help="The job's id, as list prints it.")],
    *,
    body: Annotated[bool, typer.Option("--body", help="The job itself, as JSON: what was asked of the model.")] = False,
    unreadable: Unreadable = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Why a job was set aside, the story of its attempts, and what has become of it."""
    with errors_told(as_json=as_json):

        async def work() -> dict[str, Any]:
            async with _producer(url, api_key, project, unreadable=unreadable) as producer:
                if body:
                    found: dict[str, Any] = json.loads(encode(await producer.dead.body(job)))
                    return found
                return letter_told(await producer.dead.show(job))

        found = finish(work())
        if as_json or body:
            put(json.dumps(found, ensure_ascii=False))
        else:
            for name, value in letter_table(found):
                put(f"{name}: {value}")


@dead.command("replay")
def replay(
    jobs: Jobs = None,
    *,
    fingerprint: Cause = None,
    every: Every = False,
    route: Annotated[str | None, typer.Option(help="Onto this route, in place of the jobs' own.")] = None,
    rate: Rate = RATE,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Submit jobs again, each as a new job: some, those of one cause, or all. Nothing is replayed twice.

    Prints the old and the new id of each job that is named; of many the number. Interrupted, the same command goes on.
    """

    async def one(letters: DeadLetters, job: str) -> str:
        return (await letters.replay(job, model=route)).id

    async def many(letters: DeadLetters, progress: Callable[[Tally], None]) -> Tally:
        return await letters.replay_all(fingerprint=fingerprint, model=route, rate=rate, progress=progress)

    with errors_told(as_json=as_json):
        wish = _Wish("replay", jobs or [], fingerprint, every=every, yes=yes, as_json=as_json)
        _act(wish, _producer(url, api_key, project), one, many)


@dead.command("discard")
def discard(
    jobs: Jobs = None,
    *,
    fingerprint: Cause = None,
    every: Every = False,
    reason: Annotated[str, typer.Option(help="Kept with the letter.")] = "",
    rate: Rate = RATE,
    yes: Yes = False,
    unreadable: Unreadable = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Let letters go: some, those of one cause, or all. Their bodies are removed; this cannot be undone."""

    async def one(letters: DeadLetters, job: str) -> str:
        await letters.discard(job, why=reason)
        return "discarded"

    async def many(letters: DeadLetters, progress: Callable[[Tally], None]) -> Tally:
        return await letters.discard_all(fingerprint=fingerprint, why=reason, rate=rate, progress=progress)

    with errors_told(as_json=as_json):
        wish = _Wish("discard", jobs or [], fingerprint, every=every, yes=yes, as_json=as_json)
        _act(wish, _producer(url, api_key, project, unreadable=unreadable), one, many)


def _act(wish: _Wish, producer: Producer, one: One, many: Many) -> None:
    """Some by name, or many after their number was shown. Raises InvalidRequest, or what the gateway says."""
    verb, jobs, fingerprint, as_json = wish.verb, wish.jobs, wish.fingerprint, wish.as_json
    if (bool(jobs), fingerprint is not None, wish.every).count(True) != 1:
        message = f"{verb}: name jobs, or --fingerprint, or --all, one of them"
        raise InvalidRequest(message, field="jobs", remedy="see penstock dead list")

    async def named() -> None:
        async with producer:
            for job in jobs:
                became = await one(producer.dead, job)
                put(json.dumps({"job": job, verb: became}) if as_json else f"{job}\t{became}")

    async def several() -> Tally | None:
        async with producer:
            groups = [group for group in await producer.dead.groups() if fingerprint in (None, group.fingerprint)]
            number = sum(group.count for group in groups)
            for group in groups:
                people.print(group_line(group), markup=False, soft_wrap=True)
            if number == 0 or not may_go_on(f"{verb} {counted(number, 'open')}?", sure=wish.yes):
                return None if number else Tally()
            with people.status(f"{verb} …") as status:
                return await many(producer.dead, lambda tally: status.update(f"{verb}: {tally.seen} of {number}"))

    if jobs:
        finish(named())
        return
    tally = finish(several())
    if tally is None:
        people.print("nothing was done")
        return
    people.print(tally_table(verb, tally))
    for handled in tally.failures:
        why = handled.failure.message if handled.failure is not None else ""
        people.print(f"{handled.job}: {why}", markup=False, soft_wrap=True)
    put(json.dumps(tally_told(tally)) if as_json else str(tally.done))
    if tally.failed:
        raise typer.Exit(exits.FAILURE)
