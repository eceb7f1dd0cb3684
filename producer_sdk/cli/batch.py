"""``penstock batch``: a file of requests answered by the gateway in the background, through the HTTP edge."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from typer.core import TyperGroup

from producer_sdk.cli import exits
from producer_sdk.cli.arguments import ApiKey, AsJson
from producer_sdk.cli.follow import Kept, begin, follow, opened
from producer_sdk.cli.keys import GATEWAY, Edge
from producer_sdk.cli.showing import bar, errors_told, people, put
from producer_sdk.cli.transfers import Gateway
from producer_sdk.errors import InvalidRequest

CHAT = "/v1/chat/completions"

Id = Annotated[str, typer.Argument(help="The batch's id.")]


class _RunsAFile(TyperGroup):
    """``penstock batch FILE`` means ``penstock batch run FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


batch = typer.Typer(
    cls=_RunsAFile,
    help="Files of requests, answered in the background: `penstock batch FILE`, and what became of it.",
    no_args_is_help=True,
)


@batch.command("run")
def run(
    file: Annotated[Path | None, typer.Argument(help="Requests in OpenAI's batch shape, one a line.")] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="For the results; else standard output.")] = None,
    name: Annotated[str | None, typer.Option("--batch", help="Go on with this batch, instead of a new one.")] = None,
    endpoint: Annotated[str, typer.Option(help="What the lines are requests to.")] = CHAT,
    window: Annotated[str, typer.Option(help="By when it must be done: 1h, 4h, 24h or none.")] = "24h",
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait: print the batch's id.")] = False,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    api_key: ApiKey = None,
) -> None:
    """Answer a file of requests: results come out as they are there, answers and errors, one line for each request.

    Interrupted, the same command goes on where it was, if its results go to a file; the batch goes on meanwhile.
    """
    with errors_told(as_json=as_json):
        gateway, kept = Gateway(url, api_key), Kept(out)
        if name is not None:
            if kept.place.batch not in {"", name}:
                raise InvalidRequest(f"{out} belongs to {kept.place.batch}", field="out", remedy="name a new file")
            kept.place.batch = name
        if file is not None and name is None:
            _upload(gateway, kept, file, {"endpoint": endpoint, "completion_window": window})
        if not kept.place.batch:
            raise InvalidRequest("there is neither a file nor a batch", field="file", remedy="name one of them")
        if detach:
            kept.forget()
            put(json.dumps({"batch": kept.place.batch}) if as_json else kept.place.batch)
            return
        kept.save()
        try:
            with _output(out, kept) as results:
                done = _followed(gateway, kept, results)
        except KeyboardInterrupt:
            again = f"penstock batch --batch {kept.place.batch}" + (f" -o {out}" if out else "")
            people.print(f"interrupted; the batch goes on, and so does: {again}", markup=False, soft_wrap=True)
            raise
        kept.forget()
    _tell(done)
    if done["status"] != "completed" or done["request_counts"]["failed"]:
        raise typer.Exit(exits.FAILURE)


@batch.command("list")
def listing(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The newest so many.")] = 20,
    as_json: AsJson = False,
    url: Edge = GATEWAY,
    api_key: ApiKey = None,
) -> None:
    """The newest batches, a line each."""
    with errors_told(as_json=as_json):
        found = Gateway(url, api_key).ask("GET", f"/v1/batches?limit={limit}")["data"]
        for one in found:
            put(json.dumps(one, ensure_ascii=False) if as_json else line_of(one))


@batch.command("status")
def status(batch: Id, *, as_json: AsJson = False, url: Edge = GATEWAY, api_key: ApiKey = None) -> None:
    """Where a batch is."""
    with errors_told(as_json=as_json):
        found = Gateway(url, api_key).ask("GET", f"/v1/batches/{batch}")
        put(json.dumps(found, ensure_ascii=False) if as_json else line_of(found))
        if not as_json:
            _errors(found)


@batch.command("cancel")
def cancel(batch: Id, *, as_json: AsJson = False, url: Edge = GATEWAY, api_key: ApiKey = None) -> None:
    """Call a batch off: nothing more is asked, answers that are there stay."""
    with errors_told(as_json=as_json):
        found = Gateway(url, api_key).ask("POST", f"/v1/batches/{batch}/cancel")
        put(json.dumps(found, ensure_ascii=False) if as_json else line_of(found))


def line_of(batch: dict[str, Any]) -> str:
    """A batch in one line: id, status, counts, endpoint."""
    counts = batch["request_counts"]
    done = f"{counts['completed'] + counts['failed']}/{counts['total']}"
    failed = f"{counts['failed']} failed"
    return f"{batch['id']}  {batch['status']:<11}  {done}  {failed}  {batch['endpoint']}"


def _upload(gateway: Gateway, kept: Kept, file: Path, wish: dict[str, Any]) -> None:
    with bar() as shown:
        task = shown.add_task("uploading", total=file.stat().st_size if file.exists() else None, failed=0)
        begin(gateway, kept, file, wish, lambda sent: shown.advance(task, sent))
    people.print(f"batch {kept.place.batch}", style="dim", markup=False)


def _followed(gateway: Gateway, kept: Kept, results: IO[bytes]) -> dict[str, Any]:
    with bar() as shown:
        task = shown.add_task("answering", total=None, failed=0)

        def tell(now: dict[str, Any]) -> None:
            counts = now["request_counts"]
            shown.update(
                task,
                description=now["status"].replace("_", " "),
                total=counts["total"] or None,
                completed=counts["completed"] + counts["failed"],
                failed=counts["failed"],
            )

        return follow(gateway, kept, results, tell)


@contextlib.contextmanager
def _output(out: Path | None, kept: Kept) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        return
    with opened(out, kept) as file:
        yield file


def _tell(done: dict[str, Any]) -> None:
    counts = done["request_counts"]
    words = f"{done['status']}: {counts['completed']} answered, {counts['failed']} failed of {counts['total']}"
    people.print(words, markup=False)
    _errors(done)


def _errors(found: dict[str, Any]) -> None:
    for error in (found.get("errors") or {}).get("data", []):
        where = f"line {error['line']}: " if error.get("line") else ""
        people.print(f"{where}{error['message']}", style="red", markup=False, soft_wrap=True)
