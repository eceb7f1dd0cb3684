"""What the commands say: data on standard output, words, bars and tables for people on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from job_contracts.codec import encode
from job_contracts.stream import ReasoningToken, Started, StreamEvent, Switched, Token, ToolCall
from producer_sdk.answers import Answered
from producer_sdk.cli import exits
from producer_sdk.cli.lines import told_error
from producer_sdk.cli.run import Summary
from producer_sdk.errors import InvalidRequest, PenstockError

T = TypeVar("T")

people = Console(stderr=True, highlight=False)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM interrupts as Ctrl-C does."""

    async def guarded() -> T:
        task = asyncio.current_task()
        if task is not None:
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def errors_told(*, as_json: bool) -> Iterator[None]:
    """Errors end the command with their own exit code: as JSON on standard output, or in words on standard error."""
    try:
        yield
    except PenstockError as error:
        if as_json:
            put(json.dumps({"error": told_error(error)}, ensure_ascii=False))
        _fail(str(error), exits.code_of(error))
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None


def _fail(words: str, code: int) -> NoReturn:
    people.print("penstock: ", style="bold red", end="")
    people.print(words, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def may_go_on(question: str, *, sure: bool) -> bool:
    """Whether somebody said yes: beforehand, or now, if there is somebody to ask. Raises InvalidRequest if not."""
    if sure:
        return True
    if not sys.stdin.isatty():
        raise InvalidRequest(f"nobody is here to be asked: {question}", field="yes", remedy="say --yes if it is meant")
    return typer.confirm(question, err=True)


def put(text: str) -> None:
    """A line of data."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def width_here() -> int:
    """Columns there are to print on."""
    return shutil.get_terminal_size().columns


def put_parts(parts: RenderableType) -> None:
    """What was made for that width."""
    Console(highlight=False, width=width_here()).print(parts, end="")


def put_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str]) -> None:
    """Rows for somebody at a terminal; all columns but those in ``left`` are numbers."""
    table = table_with(columns, rows, left=left)
    if table.row_count:
        Console(highlight=False, width=width_here()).print(table)


def table_with(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[str]) -> Table:
    """The same, to be shown by others."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def show_event(event: StreamEvent, *, as_json: bool) -> None:
    """An event of a stream."""
    if as_json:
        put(encode(event).decode())
        return
    match event:
        case Token():
            sys.stdout.write(event.text)
            sys.stdout.flush()
        case ToolCall():
            sys.stdout.write(f"\n{event.name}: {event.arguments}" if event.name else event.arguments)
            sys.stdout.flush()
        case ReasoningToken():
            people.print(event.text, style="dim", markup=False, end="")
        case Started():
            people.print(f"{event.deployment} answers", style="dim", markup=False)
        case Switched():
            people.print(f"\nstarting over: {event.deployment} takes over", style="yellow", markup=False)
            sys.stdout.write("\n")
        case _:
            pass


def plain(answer: Answered) -> str:
    """An answer as text."""
    calls = [f"{call.name}: {call.arguments}" for call in answer.tool_calls]
    return "\n".join([*([answer.text] if answer.text else []), *calls])


def bar() -> Progress:
    """A progress bar, if somebody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed", style="red"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=people,
        disable=not people.is_terminal,
        transient=True,
    )


def table_of(summary: Summary) -> Table:
    """The figures of a run."""
    table = Table(show_header=False, box=None, pad_edge=False)
    rate = summary.succeeded / summary.seconds if summary.seconds else 0.0
    rows = {
        "lines": f"{summary.lines}",
        "done before": f"{summary.before}" if summary.before else "",
        "succeeded": f"{summary.succeeded}",
        "failed": f"{summary.failed + summary.failed_before}" if summary.failed + summary.failed_before else "",
        **{f"  {kind}": f"{count}" for kind, count in summary.failures.most_common()},
        "left": f"{summary.lines - summary.done}" if summary.lines > summary.done else "",
        "tokens": f"{summary.input_tokens} in, {summary.output_tokens} out",
        "cost": f"{summary.cost} USD" if summary.cost else "",
        "further attempts": f"{summary.attempts - summary.succeeded}" if summary.attempts > summary.succeeded else "",
        "time": f"{summary.seconds:.1f} s, {rate:.1f} answers/s",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table
