"""What the commands are told: the options they share, and requests made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from producer_sdk.cli.durations import seconds
from producer_sdk.errors import InvalidRequest

Prompt = Annotated[str | None, typer.Argument(help="What the user says; '-' or nothing reads standard input.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A route of the gateway.")]
System = Annotated[str | None, typer.Option(help="Instructions before the prompt.")]
Messages = Annotated[Path | None, typer.Option(help="A JSON file with the turns, in place of the prompt.")]
Lane = Annotated[str | None, typer.Option(help="rt, std, batch or bg.")]
Priority = Annotated[int | None, typer.Option(help="0 first … 9 last.")]
Deadline = Annotated[str | None, typer.Option(help="From now: 90, 90s, 15m, 6h, 2d.")]
NotBefore = Annotated[str | None, typer.Option(help="From now, as --deadline.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key names the same job.")]
Session = Annotated[str | None, typer.Option(help="Jobs that belong together.")]
MaxCost = Annotated[str | None, typer.Option(help="US dollars.")]
Tag = Annotated[list[str] | None, typer.Option(help="name=value, as often as needed.")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens of the answer.")]
Temperature = Annotated[float | None, typer.Option(help="0 to 2.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="The broker; of a cluster each node, with commas between.", envvar="PENSTOCK_URL", show_envvar=True
    ),
]
ApiKey = Annotated[str | None, typer.Option("--key", help="psk_…", envvar="PENSTOCK_KEY", show_envvar=True)]
Project = Annotated[str | None, typer.Option(help="For whom to speak, where the broker asks for no key.")]
Wait = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the answer.")]

_MOMENTS = ("deadline", "not_before")


def options(*, tag: list[str] | None = None, **given: Any) -> Any:
    """Options of ``Producer.complete`` from those of the command line; what was not given is left out."""
    found = {name: value for name, value in given.items() if value is not None}
    for name in _MOMENTS:
        if name in found:
            found[name] = seconds(found[name], name)
    if tag:
        found["tags"] = dict(_pair(one) for one in tag)
    return found


def turns_of(prompt: str | None, system: str | None, file: Path | None) -> list[Any]:
    """The conversation: a file's turns, or the prompt (read from standard input if there is none)."""
    if file is not None:
        try:
            turns = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{file}: {error}", field="messages", remedy="name a JSON file with turns") from error
        if not isinstance(turns, list):
            raise InvalidRequest(f"{file}: expected a list of turns", field="messages", remedy="write a JSON array")
    else:
        if prompt in (None, "-"):
            prompt = sys.stdin.read()
        turns = [{"role": "user", "content": prompt}]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _pair(tag: str) -> tuple[str, str]:
    name, equals, value = tag.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"tag: {tag!r} is not name=value", field="tag", remedy="write --tag team=search")
    return name, value
