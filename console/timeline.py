"""A job's life as a picture: what it waited for and what its attempts did, on one scale. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.finding import FoundJob
    from job_contracts.results import AttemptRecord

Kind = Literal["wait", "first", "answer", "failed"]
"""Waiting; a call until its first token; a call from there on, or one that came in one piece; one that failed."""

WIDTH, HEIGHT, LEFT = 1_000.0, 30.0, 240.0
"""Of the picture, of a row, and of the words before the bars."""
THINNEST = 2.0
"""Of a bar: what took no time is there all the same."""


@dataclass(frozen=True, slots=True)
class Part:
    """One bar. Seconds since the submission."""

    label: str
    kind: Kind
    begin: float
    seconds: float
    row: int
    said: str = ""
    """In words what it was."""
    x: float = 0.0
    """Where it begins in the picture, and how wide it is."""
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bars, and the size of the picture."""

    parts: tuple[Part, ...]
    seconds: float
    """From the submission to the end, or to now."""
    rows: int
    words: str
    """All of it in a sentence."""

    @property
    def height(self) -> float:
        """Of the picture."""
        return self.rows * HEIGHT + 24


def timeline(found: FoundJob) -> Timeline | None:
    """Of a job that was told; ``None`` if nothing is known of its times."""
    result, status = found.result, found.status
    if status is not None:
        begun, end, attempts, ended = status.submitted, found.at, found.attempts, False
    elif result is not None:
        begun, end, attempts, ended = result.times.submitted, result.times.finished, result.attempts, True
    else:
        return None
    last = max([end, *(one.started + one.seconds for one in attempts)])
    parts = _parts(begun, last, sorted(attempts, key=lambda one: (one.started, one.number)), ended=ended)
    if status is not None and status.state.value == "dispatched" and parts:
        parts[-1] = _under_way(parts[-1], status.attempts, status.deployment)
    whole = max(last - begun, 0.001)
    scale = (WIDTH - LEFT) / whole
    drawn = tuple(
        Part(
            *(one.label, one.kind, one.begin, one.seconds, one.row, one.said),
            x=round(min(LEFT + one.begin * scale, WIDTH - THINNEST), 1),
            width=round(max(one.seconds * scale, THINNEST), 1),
        )
        for one in parts
    )
    rows = max((one.row for one in drawn), default=0) + 1
    waited = sum(one.seconds for one in drawn if one.kind == "wait")
    words = f"{whole:.1f} s in all, of which it waited {waited:.1f} s; {len(attempts)} ended attempts"
    return Timeline(drawn, whole, rows, words)


def _parts(begun: float, end: float, attempts: Sequence[AttemptRecord], *, ended: bool) -> list[Part]:
    """In order; where two attempts ran at once (a hedge) nothing was waited for between them."""
    parts: list[Part] = []
    reached, row = begun, 0
    for one in attempts:
        started = max(one.started, begun)  # another machine's clock
        if started > reached:
            label = "in the queue" if not parts else "before the next attempt"
            parts.append(Part(label, "wait", reached - begun, started - reached, row))
            row += 1
        parts += _attempt(one, started - begun, row)
        row += 1
        reached = max(reached, started + one.seconds)
    if end > reached and (not ended or end - reached > 0.0005):
        label = ("until its result" if ended else "waits again") if attempts else "in the queue"
        parts.append(Part(label, "wait", reached - begun, end - reached, row))
    return parts


def _attempt(one: AttemptRecord, begin: float, row: int) -> list[Part]:
    label = f"{one.number}: {one.deployment}"
    if one.failure is not None:
        return [Part(label, "failed", begin, one.seconds, row, f"failed: {one.failure.kind.value}")]
    if one.first_token is None or not 0 <= one.first_token <= one.seconds:
        return [Part(label, "answer", begin, one.seconds, row, "its answer")]
    rest = one.seconds - one.first_token
    return [
        Part(label, "first", begin, one.first_token, row, "until the first token"),
        Part(label, "answer", begin + one.first_token, rest, row, "the rest of its answer"),
    ]


def _under_way(part: Part, attempt: int, deployment: str | None) -> Part:
    label = f"{attempt}: {deployment or 'under way'}"
    return Part(label, "first", part.begin, part.seconds, part.row, "under way, with the wait before it")
