"""``penstock routes``: which deployment a job would go to now and why not the others; what a change would have done."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from job_contracts.codec import ContractError, check, decode, encode
from job_contracts.desk import Estimate, Planned
from job_contracts.jobs import Need
from producer_sdk.cli.arguments import (
    ApiKey,
    AsJson,
    Lane,
    MaxTokens,
    Messages,
    Project,
    Prompt,
    Session,
    System,
    Url,
    options,
    turns_of,
)
from producer_sdk.cli.decisions import printable, put_decision
from producer_sdk.cli.exits import REFUSED
from producer_sdk.cli.showing import errors_told, finish, people, put
from producer_sdk.errors import InvalidRequest, PenstockError
from producer_sdk.producer import Producer
from producer_sdk.request import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

routes = typer.Typer(help="Where jobs would go, and what a change would have done.", no_args_is_help=True)

_SERVICES = "scheduler"
"""The service whose code knows the policy; it is there where the whole of Penstock is, not where the SDK alone is."""


@routes.command("simulate")
def simulate(
    route: Annotated[str, typer.Argument(help="A route of the gateway.")],
    prompt: Prompt = None,
    *,
    system: System = None,
    messages: Messages = None,
    input_tokens: Annotated[
        int | None, typer.Option(min=0, help="Tokens of the prompt, in place of one; default: 1000.")
    ] = None,
    max_output: MaxTokens = None,
    needs: Annotated[str | None, typer.Option(help="tools, json_schema, images …; commas between.")] = None,
    lane: Lane = None,
    session: Session = None,
    constraints: Annotated[
        str | None, typer.Option(help='JSON of what a deployment must be: {"residency": ["eu-*"]}.')
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(help="A configuration: by it alone, without a broker, as if nothing had happened.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="With --offline: a moment with its zone, for prices of then.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Which deployment such a job would go to now, what counts of each, and why not the others. Nothing is submitted.

    The leader is asked, which knows limits, breakers, load and sessions of this moment; jobs that wait are not reckoned
    with. With --offline a configuration alone decides: orders, prices, constraints.
    """
    with errors_told(as_json=as_json):
        turns = turns_of(prompt, system, messages) if prompt is not None or messages is not None else None
        planned = _planned(
            route,
            turns,
            input_tokens=input_tokens,
            needs=needs,
            constraints=constraints,
            **options(lane=lane, session=session, max_tokens=max_output),
        )
        if offline is not None:
            found = _offline(offline, planned, project, at)
        elif at is not None:
            raise InvalidRequest("at: the leader answers for now", field="at", remedy="use it with --offline")
        else:

            async def work() -> Estimate:
                async with Producer(url, api_key, project=project) as producer:
                    return await producer.simulate(planned)

            found = finish(work())
        if as_json:
            put(encode(found).decode())
        else:
            _show(found)
        if found.refused is not None:
            raise typer.Exit(REFUSED)


def _planned(
    route: str,
    turns: list[Any] | None,
    *,
    input_tokens: int | None,
    needs: str | None,
    constraints: str | None,
    lane: str | None = None,
    session: str | None = None,
    max_tokens: int | None = None,
) -> Planned:
    values: dict[str, Any] = {"route": route, "input_estimate": 1_000, "max_output": max_tokens}
    if turns is not None:
        prepared = prepare(route, turns, (), {}, stream=False, new_id="simulated", token="-", now=0.0)
        values = {**json.loads(encode(prepared.planned)), "max_output": max_tokens}
    if input_tokens is not None:
        values["input_estimate"] = input_tokens
    if needs:
        values["needs"] = [one.strip() for one in needs.split(",") if one.strip()]
    if constraints is not None:
        try:
            values["constraints"] = json.loads(constraints)
        except ValueError as error:
            raise InvalidRequest(f"constraints: {error}", field="constraints", remedy="write JSON") from error
    asked = {**values, "lane": lane, "session": session, "explain": True}
    try:
        return check(Planned, asked, strict_names=True)
    except ContractError as error:
        remedy = f"needs are: {', '.join(get_args(Need))}" if "needs" in (error.field or "") else error.remedy
        raise InvalidRequest(str(error), field=error.field, remedy=remedy) from error


def _show(found: Estimate) -> None:
    if found.refused is not None:
        put(f"refused, {found.refused.kind.value}: {printable(found.refused.message)}")
        if found.refused.remedy:
            people.print(found.refused.remedy, markup=False)
    for name, amount in (("likely to cost", found.expected), ("at most", found.worst)):
        if amount is not None:
            put(f"{name}: {amount.normalize():f} USD")
    if found.decision is not None:
        put_decision(found.decision)


def _offline(config: Path, planned: Planned, project: str | None, at: str | None) -> Estimate:
    words = ["simulate", "--config", str(config), *(["--project", project] if project else [])]
    done = _scheduler([*words, *(["--at", at] if at else [])], given=encode(planned))
    return decode(Estimate, done)


@routes.command("what-if")
def what_if(
    *,
    config: Annotated[Path, typer.Option(help="The changed configuration.")],
    against: Annotated[Path, typer.Option(help="The configuration as it is; its broker is asked for the facts.")],
    facts: Annotated[
        Path | None, typer.Option(help="Facts from a file (one JSON object a line) in place of the broker's.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="A time ago (12h), a day, or a moment with its zone; default: 1d, or all of --facts."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="The first moment that does not belong to it.")] = None,
    project: Annotated[str | None, typer.Option(help="Jobs of one project alone.")] = None,
    seed: Annotated[int, typer.Option(help="Another one is other luck, the same for both sides.")] = 0,
    as_json: AsJson = False,
) -> None:
    """What yesterday would have been under a changed configuration: cost, latency, refusals beside one another.

    The ledger's facts are read from the broker, as long as they are kept, and their jobs go through two boards in
    simulated time. What can only be approximated is said.
    """
    with errors_told(as_json=as_json):
        words = ["what-if", "--config", str(config), "--against", str(against), "--seed", str(seed)]
        given = {"--facts": facts, "--since": since, "--until": until, "--project": project}
        for name, value in given.items():
            words += [name, str(value)] if value is not None else []
        put(_scheduler([*words, *(["--json"] if as_json else [])]).decode().rstrip("\n"))


def _scheduler(words: Sequence[str], *, given: bytes = b"") -> bytes:
    """What the scheduler's own command says. Raises InvalidRequest where it is not installed, or as it refuses."""
    if importlib.util.find_spec(_SERVICES) is None:
        remedy = "run it where the services are: in Penstock's folder or image"
        raise InvalidRequest("this needs the scheduler, which the client library does not have", remedy=remedy)
    command = [sys.executable, "-m", _SERVICES, *words]
    done = subprocess.run(command, input=given, capture_output=True, check=False)  # noqa: S603 - our own module
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip() or f"the scheduler's command ended with {done.returncode}"
    if done.returncode in {64, 65, 78}:
        raise InvalidRequest(said)
    raise PenstockError(said)
