"""The commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from job_contracts.codec import encode
from producer_sdk.answers import Answered
from producer_sdk.border import answered
from producer_sdk.cli import exits
from producer_sdk.cli.arguments import (
    ApiKey,
    AsJson,
    Deadline,
    Key,
    Lane,
    MaxCost,
    MaxTokens,
    Messages,
    Model,
    NotBefore,
    Priority,
    Project,
    Prompt,
    Session,
    System,
    Tag,
    Temperature,
    Url,
    Wait,
    options,
    turns_of,
)
from producer_sdk.cli.batch import batch
from producer_sdk.cli.dead import dead
from producer_sdk.cli.embed import embed
from producer_sdk.cli.estimate import Forecast, estimated, show_forecast
from producer_sdk.cli.experiments import experiments
from producer_sdk.cli.explain import explain
from producer_sdk.cli.finding import list_jobs
from producer_sdk.cli.keys import keys
from producer_sdk.cli.lines import told, told_error
from producer_sdk.cli.models import models
from producer_sdk.cli.operating import audit, limits, pools
from producer_sdk.cli.routes import routes
from producer_sdk.cli.run import Summary, run_file
from producer_sdk.cli.showing import bar, errors_told, finish, people, plain, put, show_event, table_of
from producer_sdk.cli.spend import spend
from producer_sdk.cli.top import top
from producer_sdk.errors import InvalidRequest, PenstockError
from producer_sdk.producer import Producer

app = typer.Typer(
    name="penstock",
    help="Jobs for language models, through Penstock.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
jobs = typer.Typer(help="Look at jobs, or call one off.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(dead, name="dead")
app.add_typer(experiments, name="experiments")
app.add_typer(batch, name="batch")
app.add_typer(keys, name="keys")
app.add_typer(spend, name="spend")
app.add_typer(routes, name="routes")
app.add_typer(pools, name="pools")
app.add_typer(limits, name="limits")
app.command()(embed)


@app.command()
def submit(
    prompt: Prompt = None,
    *,
    model: Model,
    system: System = None,
    messages: Messages = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
    lane: Lane = None,
    priority: Priority = None,
    deadline: Deadline = None,
    not_before: NotBefore = None,
    key: Key = None,
    session: Session = None,
    max_cost: MaxCost = None,
    tag: Tag = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
    timeout: Wait = 600.0,
) -> None:
    """Submit one job; prints its id as soon as it is durable."""
    with errors_told(as_json=as_json):
        asked = options(
            lane=lane,
            priority=priority,
            deadline=deadline,
            not_before=not_before,
            idempotency_key=key,
            session=session,
            max_cost=max_cost,
            tag=tag,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        turns = turns_of(prompt, system, messages)

        async def work() -> Answered | str:
            async with Producer(url, api_key, project=project, timeout=timeout) as producer:
                job = await producer.submit(model=model, messages=turns, **asked)
                return await job.result() if wait else job.id

        done = finish(work())
        if isinstance(done, str):
            put(json.dumps({"job": done}) if as_json else done)
        else:
            put(json.dumps(told(done), ensure_ascii=False) if as_json else plain(done))


@app.command()
def stream(
    prompt: Prompt = None,
    *,
    model: Model,
    system: System = None,
    messages: Messages = None,
    lane: Lane = "rt",
    priority: Priority = None,
    deadline: Deadline = None,
    key: Key = None,
    session: Session = None,
    max_cost: MaxCost = None,
    tag: Tag = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
    timeout: Wait = 600.0,
) -> None:
    """Submit one job and print its answer while it comes; with --json every event is a line."""
    with errors_told(as_json=as_json):
        asked = options(
            lane=lane,
            priority=priority,
            deadline=deadline,
            idempotency_key=key,
            session=session,
            max_cost=max_cost,
            tag=tag,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        turns = turns_of(prompt, system, messages)

        async def work() -> None:
            async with (
                Producer(url, api_key, project=project, timeout=timeout) as producer,
                producer.stream(model=model, messages=turns, **asked) as events,
            ):
                async for event in events:
                    show_event(event, as_json=as_json)

        finish(work())
        if not as_json:
            put("")


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="Requests, one JSON object a line (ours, or OpenAI's batch shape).")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Answers, one line each. If it exists, its lines are not done again.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="For lines that name none.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Jobs under way at once.")] = 64,
    lane: Lane = "batch",
    priority: Priority = None,
    deadline: Deadline = None,
    session: Session = None,
    max_cost: MaxCost = None,
    max_spend: Annotated[str | None, typer.Option(help="US dollars this run may cost; other lines wait.")] = None,
    tag: Tag = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only tell what it would cost.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Answer a file of requests. Interrupted or killed, the same command goes on where it was; nothing runs twice.

    --max-cost, --deadline and the other job options hold for each line that does not set them itself. --max-spend
    bounds the run: a line is submitted only if it fits at its worst, and what is left out is for the next run.
    --estimate sends nothing: it tells what the lines that are not done yet would cost, and needs no --out.
    """
    summary = Summary()
    with errors_told(as_json=as_json):
        asked = options(lane=lane, priority=priority, deadline=deadline, session=session, max_cost=max_cost, tag=tag)

        if estimate:

            async def reckon() -> Forecast:
                async with Producer(url, api_key, project=project) as producer:
                    return await estimated(producer, file, out, model=model, options=asked)

            show_forecast(finish(reckon()), as_json=as_json)
            return
        if out is None:
            raise InvalidRequest("out: where are the answers to go?", field="out", remedy="add --out FILE")

        async def work() -> None:
            async with Producer(url, api_key, project=project, timeout=None) as producer:
                with bar() as shown:
                    task = shown.add_task("running", total=None)

                    def tell(now: Summary) -> None:
                        shown.update(task, total=now.lines, completed=now.done, failed=now.failed)

                    await run_file(
                        producer,
                        file,
                        out,
                        model=model,
                        concurrency=concurrency,
                        options=asked,
                        max_spend=max_spend,
                        summary=summary,
                        tell=tell,
                    )

        try:
            finish(work())
        except KeyboardInterrupt:
            left = summary.lines - summary.done
            people.print(f"interrupted with {left} of {summary.lines} lines left; the same command goes on")
            raise
        except PenstockError:
            if summary.lines:
                people.print(table_of(summary))
            raise
        people.print(table_of(summary))
        if summary.left_out:
            people.print(f"{summary.left_out} lines left out: {summary.why_left_out}", markup=False, soft_wrap=True)
        if as_json:
            put(json.dumps(summary.as_json()))
    if summary.failed or summary.failed_before or summary.left_out:
        raise typer.Exit(exits.FAILURE)


@jobs.command("show")
def show(
    job: Annotated[str, typer.Argument(help="The id that submit printed.")],
    *,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Where a job is, why it waits, and its answer if it has one."""
    with errors_told(as_json=as_json):

        async def work() -> dict[str, Any]:
            async with Producer(url, api_key, project=project) as producer:
                handle = producer.attach(job)
                status = await handle.status()
                found: dict[str, Any] = json.loads(encode(status))
                if status.state.terminal:
                    record = await handle.record()
                    try:
                        found |= told(answered(record))
                    except PenstockError as error:
                        found["error"] = told_error(error)
                for private in ("version", "token", "body_hash"):
                    found.pop(private, None)
                return found

        found = finish(work())
        if as_json:
            put(json.dumps(found, ensure_ascii=False))
        else:
            for name, value in found.items():
                put(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@jobs.command("cancel")
def cancel(
    job: Annotated[str, typer.Argument(help="The id that submit printed.")],
    *,
    reason: Annotated[str, typer.Option(help="Kept with the job.")] = "cancelled from the command line",
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    project: Project = None,
) -> None:
    """Record that a job should not be worked on any further."""
    with errors_told(as_json=as_json):

        async def work() -> None:
            async with Producer(url, api_key, project=project) as producer:
                await producer.attach(job).cancel(reason)

        finish(work())
        put(json.dumps({"job": job, "cancel": "recorded"}) if as_json else f"{job}: cancel recorded")


jobs.command("explain")(explain)
jobs.command("list")(list_jobs)
app.command("models")(models)
app.command("audit")(audit)
app.command("top")(top)
