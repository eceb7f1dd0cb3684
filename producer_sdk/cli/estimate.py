"""``penstock run FILE --estimate``: what a file of requests would cost, before anything is sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from job_contracts.desk import MAX_ASKED, Estimate
from producer_sdk.cli.files import Input, read_before
from producer_sdk.cli.lines import Line, told_error
from producer_sdk.cli.showing import people, put
from producer_sdk.errors import InvalidRequest, PenstockError, Refused

if TYPE_CHECKING:
    from producer_sdk.producer import Producer


@dataclass(slots=True)
class Sum:
    """What some lines would cost together, in US dollars."""

    lines: int = 0
    expected: Decimal = field(default_factory=Decimal)
    worst: Decimal = field(default_factory=Decimal)
    unpriced: int = 0
    """Lines of which nobody knows a price; they are in neither sum."""

    def add(self, estimate: Estimate) -> None:
        """One more line."""
        self.lines += 1
        if estimate.worst is None:
            self.unpriced += 1
            return
        self.worst += estimate.worst
        self.expected += estimate.worst if estimate.expected is None else estimate.expected

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        told = {"lines": self.lines, "expected": format(self.expected, "f"), "worst": format(self.worst, "f")}
        return {**told, "unpriced": self.unpriced}


@dataclass(slots=True)
class Forecast:
    """What a run would cost: all of it, and by model."""

    total: Sum = field(default_factory=Sum)
    models: dict[str, Sum] = field(default_factory=dict)
    before: int = 0
    """Lines that an earlier run has done."""
    refused: Counter[str] = field(default_factory=Counter)
    """Lines that would be refused, by why."""

    def add(self, model: str, told: Estimate | PenstockError) -> None:
        """One more line."""
        if isinstance(told, PenstockError):
            self.refused[told_error(told)["code"]] += 1
        elif told.refused is not None:
            self.refused[told.refused.kind.value] += 1
        else:
            self.total.add(told)
            self.models.setdefault(model, Sum()).add(told)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        models = {model: one.as_json() for model, one in sorted(self.models.items())}
        return {**self.total.as_json(), "before": self.before, "refused": dict(self.refused), "models": models}


async def estimated(
    producer: Producer, source: Path, out: Path | None, *, model: str | None, options: dict[str, Any]
) -> Forecast:
    """The cost of every line of ``source`` that ``out`` does not hold yet. Raises InvalidRequest, Unreachable.

    Lines are asked after in pages; nothing is submitted.
    """
    done = read_before(out).done if out is not None else set()
    forecast = Forecast()
    left = _left(Input(source, model=model), done, forecast)
    while page := list(islice(left, MAX_ASKED)):
        told = await asyncio.gather(*(_one(producer, line, options) for line in page))
        for line, one in zip(page, told, strict=True):
            forecast.add(str(line.request["model"]), one)
    return forecast


def _left(lines: Input, done: set[str], forecast: Forecast) -> Iterator[Line]:
    for line in lines:
        if line.custom_id in done:
            forecast.before += 1
        elif line.error is not None:
            forecast.add("", line.error)
        else:
            yield line


async def _one(producer: Producer, line: Line, options: dict[str, Any]) -> Estimate | PenstockError:
    asked: Any = {name: value for name, value in {**options, **line.request}.items() if name != "timeout"}
    try:
        return await producer.estimate(**asked)
    except (InvalidRequest, Refused) as error:
        return error
    except TypeError as error:
        return InvalidRequest(f"no set of arguments for a job: {error}")


def show_forecast(forecast: Forecast, *, as_json: bool) -> None:
    """In JSON on standard output, or as a table for people."""
    if as_json:
        put(json.dumps(forecast.as_json(), ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("model", "lines", "expected USD", "at most USD", "without a price"):
        table.add_column(name, justify="left" if name == "model" else "right")
    rows = [*sorted(forecast.models.items()), *([("all", forecast.total)] if len(forecast.models) != 1 else [])]
    for model, one in rows:
        table.add_row(*_cells(model, one))
    people.print(table)
    for why, count in forecast.refused.most_common():
        people.print(f"{count} lines would be refused: {why}", markup=False)
    if forecast.before:
        people.print(f"{forecast.before} lines are done already", style="dim", markup=False)


def _cells(model: str, one: Sum) -> Sequence[str]:
    return model, str(one.lines), f"{one.expected:.6f}", f"{one.worst:.6f}", str(one.unpriced or "")
