"""``penstock run``: a file of requests becomes a file of answers, each line once, however often it is interrupted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from producer_sdk.batch import Item
from producer_sdk.cli.files import Input, Output
from producer_sdk.cli.lines import Line, answer_line, error_line, told_error
from producer_sdk.errors import Closed, Forbidden, PenstockError, Timeout, Unreachable
from producer_sdk.producer import Producer
from producer_sdk.purse import cost_of

STOPPING = (Unreachable, Closed, Forbidden, Timeout)
"""Errors that say nothing of a line's own: the run stops, and its remaining lines wait for the next one."""


@dataclass
class Summary:
    """What a run has done."""

    lines: int = 0
    before: int = 0
    """Done by an earlier run."""
    succeeded: int = 0
    failed: int = 0
    failed_before: int = 0
    left_out: int = 0
    """Not submitted, because the run may cost no more."""
    why_left_out: str = ""
    failures: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = field(default_factory=Decimal)
    attempts: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Lines with an output line."""
        return self.before + self.succeeded + self.failed

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "lines": self.lines,
            "done": self.done,
            "before": self.before,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "failed_before": self.failed_before,
            "left_out": self.left_out,
            "failures": dict(self.failures),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": str(self.cost),
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
        }


async def run_file(
    producer: Producer,
    source: Path,
    out: Path,
    *,
    model: str | None,
    concurrency: int,
    options: dict[str, Any],
    max_spend: str | None,
    summary: Summary,
    tell: Callable[[Summary], None],
) -> None:
    """Answer every line of ``source`` that ``out`` does not hold yet.

    ``options`` are job options for every line that does not set them itself; ``max_spend`` US dollars is what this run
    may cost, lines that do not fit are left for a further one. ``summary`` is kept current, and ``tell``
    is called after every line. Raises InvalidRequest for files that cannot be used, and any of ``STOPPING``.
    """
    lines = Input(source, model=model)
    output = Output(out)
    summary.lines = lines.total
    summary.before = len(output.before.done & lines.ids)
    summary.failed_before = output.before.failed
    started = time.monotonic()
    with output:
        todo = _Todo(lines, output, options, summary, tell)
        async for item in producer.map(todo.requests(), concurrency=concurrency, max_cost=max_spend):
            todo.write(item)
            summary.seconds = time.monotonic() - started
            tell(summary)
        if summary.done >= summary.lines:
            output.finish()


class _Todo:
    def __init__(
        self,
        lines: Input,
        output: Output,
        options: dict[str, Any],
        summary: Summary,
        tell: Callable[[Summary], None],
    ) -> None:
        self._lines = lines
        self._output = output
        self._options = options
        self._summary = summary
        self._tell = tell
        self._under_way: dict[int, Line] = {}

    def requests(self) -> Iterator[dict[str, Any]]:
        index = 0
        for line in self._lines:
            if line.custom_id in self._output.before.done:
                continue
            if line.error is not None:
                self._failed(line, line.error)
                self._tell(self._summary)
                continue
            self._under_way[index] = line
            index += 1
            own = {"idempotency_key": self._output.key(line)}
            yield {**self._options, **line.request, **own}

    def write(self, item: Item) -> None:
        line = self._under_way.pop(item.index)
        answer, summary = item.answer, self._summary
        if answer is None:
            error = item.error or PenstockError("there is neither an answer nor an error")
            if isinstance(error, STOPPING):
                raise error
            if item.left_out:
                summary.left_out += 1
                summary.why_left_out = summary.why_left_out or str(error)
                return
            summary.cost += cost_of(error) or 0
            self._failed(line, error)
            return
        self._output.write(answer_line(line, answer))
        summary.succeeded += 1
        summary.input_tokens += answer.usage.input
        summary.output_tokens += answer.usage.output
        summary.cost += answer.cost or 0
        summary.attempts += len(answer.attempts)

    def _failed(self, line: Line, error: PenstockError) -> None:
        self._output.write(error_line(line, error))
        self._summary.failed += 1
        self._summary.failures[told_error(error)["code"]] += 1
