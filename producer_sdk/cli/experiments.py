"""``penstock experiments``: routes tried side by side, what is known of them in words, and the operator's stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from job_contracts.codec import Wire, encode
from job_contracts.desk import Operation
from job_contracts.trials import AskExperiments, AskStop, ToldArm, ToldExperiment, ToldExperiments
from producer_sdk.cli.arguments import AsJson, Url
from producer_sdk.cli.operators import operators
from producer_sdk.cli.showing import errors_told, finish, may_go_on, people, put, put_table

experiments = typer.Typer(
    help="Routes tried side by side: how they stand, and stopping one. With the services' login in --url.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The experiment, as the configuration names it.")]


async def _ask(url: str | None, operation: Operation, question: Wire) -> ToldExperiments:
    async with operators(url) as ask:
        return await ask(operation, question, ToldExperiments)


@experiments.command("list")
def list_(*, as_json: AsJson = False, url: Url = None) -> None:
    """All experiments, one a line: name, route, share of all units, jobs, and the verdict on each challenger."""
    with errors_told(as_json=as_json):
        told = finish(_ask(url, "experiments", AskExperiments())).experiments
        for one in told:
            put(encode(one).decode() if as_json else line_of(one))
        if not told:
            people.print("no experiments", style="dim")


@experiments.command("show")
def show(name: Name, *, as_json: AsJson = False, url: Url = None) -> None:
    """One experiment: the arms side by side, the verdict in words, what it waits for, and what was done to it."""
    with errors_told(as_json=as_json):
        (one,) = finish(_ask(url, "experiments", AskExperiments(name=name))).experiments
        if as_json:
            put(encode(one).decode())
        else:
            _show(one)


@experiments.command("stop")
def stop(
    name: Name,
    arm: Annotated[str, typer.Argument(help="The challenger.")],
    *,
    why: Annotated[str, typer.Option(help="For the audit.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Stop a challenger for good: its jobs go to the control, also those that wait already."""
    with errors_told(as_json=as_json):
        may_go_on(f"stop {arm} of {name} for good?", sure=yes)
        (one,) = finish(_ask(url, "stop_arm", AskStop(experiment=name, arm=arm, why=why))).experiments
        if as_json:
            put(encode(one).decode())
        else:
            _show(one)


def line_of(one: ToldExperiment) -> str:
    """Such as: ``cheap-model  chat  25 %  1,204 jobs  b: its cost is not distinguishable yet``."""
    words = "; ".join(arm.verdict or f"{arm.name}: nothing is known yet" for arm in one.arms[1:])
    jobs = sum(arm.jobs for arm in one.arms)
    return "  ".join((one.name, one.route, _state(one), f"{jobs:,} jobs", words))


def _state(one: ToldExperiment) -> str:
    if not one.running:
        return "ended"
    return f"{one.adopted} adopted" if one.adopted else f"{100 * one.share:g} %"


def _show(one: ToldExperiment) -> None:
    put(f"{one.name}: route {one.route}, {_state(one)} (step {one.step + 1} of {one.steps})")
    put_table(
        ("arm", "route", "jobs", "failed", "cost", "seconds"), [_cells(arm) for arm in one.arms], left=("arm", "route")
    )
    for arm in one.arms[1:]:
        put(arm.verdict or f"{arm.name}: nothing is known yet")
    put(f"holding: {one.holding}")
    for reason in one.refused:
        put(f"not in force: {reason}")
    for line in one.audit:
        when = datetime.fromtimestamp(line.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        put(f"{when} {line.who}: {line.what}: {line.why}")


def _cells(arm: ToldArm) -> tuple[str, ...]:
    name = f"{arm.name} (stopped)" if arm.stopped else arm.name
    cost = "-" if arm.mean_cost is None else f"${arm.mean_cost:.6f}"
    seconds = "-" if arm.mean_seconds is None else f"{arm.mean_seconds:.2f}"
    return name, arm.route, f"{arm.jobs:,}", f"{arm.failed:,}", cost, seconds
