"""Real traces of the policy: every fact and call that a running leader made to its board, and what the board decided.

A line of a trace is ``[what, seconds, value]``, the first one the rules' configuration; the seconds are null for a call
that is not told the time. A board is made with the wall clock's time beside its own, because budgets have calendar
windows.
Values are written by name of field, defaults left out, so that a trace outlives a field that is added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from catalogue.rows import ProviderRow
from job_contracts.attempts import Draft, LimitReading
from job_contracts.chat import Usage
from job_contracts.constraints import Constraints
from job_contracts.decisions import Choice
from job_contracts.experiments import Experiment
from job_contracts.failures import Failure
from job_contracts.jobs import Bounds, JobState
from job_contracts.results import AttemptRecord
from job_contracts.trials import Trial
from runtime.settings import Config
from scheduler import service
from scheduler.policy import decisions, facts
from scheduler.policy.board import Board
from scheduler.policy.decisions import Decision, Dispatch, Finish
from scheduler.policy.experiments.ramp import Progress
from scheduler.policy.purses import Spending
from scheduler.policy.resolving import rules_from
from scheduler.policy.rules import Rules
from scheduler.policy.seats import Running
from tests.e2e.faults.model.invariants import ledger_problems
from tests.support.world import CATALOGUE

KNOWN: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(facts.Submitted, facts.InFlight, facts.CancelAsked, facts.AttemptEnded, facts.Settled),
        *(facts.LimitsRead, facts.PoolSeen, facts.Ordered, facts.Charged, facts.Uncharged, Spending),
        *(facts.Late, facts.Begun, Running, Progress),
        *(decisions.Dispatch, decisions.Finish, decisions.Abort),
    )
}
READ: dict[str, Callable[[Any], Any]] = {
    "failure": Failure.model_validate,
    "record": AttemptRecord.model_validate,
    "usage": Usage.model_validate,
    "state": JobState,
    "max_cost": Decimal,
    "history": lambda told: tuple(AttemptRecord.model_validate(each) for each in told),
    "readings": lambda told: tuple(LimitReading.model_validate(each) for each in told),
    "needs": tuple,
    "bounds": Bounds.model_validate,
    "attempt": lambda told: tuple(told) if isinstance(told, list) else told,
    "weight": tuple,
    "late": tuple,
    "decision": Choice.model_validate,
    "draft": Draft.model_validate,
    "trial": Trial.model_validate,
    "constraints": lambda told: (
        tuple(Constraints.model_validate(each) for each in told)
        if isinstance(told, list)
        else Constraints.model_validate(told)
    ),
    "settings": Experiment.model_validate,
}


def written(value: Any) -> Any:
    """As JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        told = {
            field.name: written(getattr(value, field.name))
            for field in fields(value)
            if field.default is MISSING or getattr(value, field.name) != field.default
        }
        return {type(value).__name__: told}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Mapping):
        return {name: written(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [written(each) for each in value]
    return str(value) if isinstance(value, Decimal) else value


def read(told: Any) -> Any:
    """From JSON: one of the dataclasses, a list of them, or the thing itself."""
    if isinstance(told, list):
        return [read(each) for each in told]
    if isinstance(told, dict) and len(told) == 1 and next(iter(told)) in KNOWN:
        ((name, values),) = told.items()
        return KNOWN[name](**{field: _field(field, value) for field, value in values.items()})
    return told


def _field(name: str, value: Any) -> Any:
    return READ[name](value) if value is not None and name in READ else read(value)


class Recorder(Board):
    """A board that writes down what is asked of it."""

    def __init__(self, rules: Rules, *, now: float = 0.0, wall: float = 0.0) -> None:
        super().__init__(rules, now=now, wall=wall)
        self.lines: list[list[Any]] = [["board", now, wall]]

    def apply(self, fact: facts.Fact, now: float) -> None:
        self.lines.append(["apply", now, written(fact)])
        super().apply(fact, now)

    def decide(self, now: float, room: int) -> list[Decision]:
        found = super().decide(now, room)
        self.lines.append(["decide", now, [room, written(found)]])
        return found

    def stored(self, dispatches: Iterable[Dispatch], now: float) -> None:
        dispatches = list(dispatches)
        self.lines.append(["stored", now, written(dispatches)])
        super().stored(dispatches, now)

    def refused(self, dispatches: Iterable[Dispatch], now: float) -> None:
        dispatches = list(dispatches)
        self.lines.append(["refused", now, written(dispatches)])
        super().refused(dispatches, now)

    def place_trials(self, running: Mapping[str, Running], now: float) -> None:
        self.lines.append(["place_trials", now, written(running)])
        super().place_trials(running, now)

    def restore(self, levels: Mapping[str, Mapping[str, float]], silence: float, now: float) -> None:
        self.lines.append(["restore", now, [written(levels), silence]])
        super().restore(levels, silence, now)

    def restore_spending(self, spending: Spending) -> None:
        self.lines.append(["restore_spending", None, written(spending)])
        super().restore_spending(spending)

    def trust_spending(self, trusted: bool) -> None:
        self.lines.append(["trust_spending", None, trusted])
        super().trust_spending(trusted)


@contextmanager
def recording() -> Iterator[list[Recorder]]:
    """Every scheduler that begins a term meanwhile has a board that writes down what is asked of it."""
    made: list[Recorder] = []

    class Noted(Recorder):
        def __init__(self, rules: Rules, *, now: float = 0.0, wall: float = 0.0) -> None:
            super().__init__(rules, now=now, wall=wall)
            made.append(self)

    place, name = vars(service), "Board"  # the one place where a board is made
    place[name], original = Noted, place[name]
    try:
        yield made
    finally:
        place[name] = original


def save(path: Path, config: Config, boards: Iterable[Recorder]) -> None:
    """One file: the configuration, then the calls of each term."""
    kept = config.model_dump(mode="json", exclude_defaults=True)
    for provider in kept["providers"].values():
        provider["key"] = "k"
    lines = [json.dumps(["config", 0, kept], separators=(",", ":"))]
    lines += [json.dumps(line, separators=(",", ":")) for board in boards for line in board.lines]
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Replayed:
    """What a replay came to."""

    terms: int
    calls: int
    dispatches: int
    problems: list[str]


def replay(
    path: Path,
    catalogue: Mapping[str, ProviderRow] = CATALOGUE,
    between: Callable[[Board, float], object] | None = None,
) -> Replayed:
    """The same calls to boards of today: every decision must be the recorded one, and the books must balance.

    ``between`` is called with the board and the time before each call of the trace.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rules = rules_from(Config.model_validate(lines[0][2]), catalogue)
    told = Replayed(0, len(lines) - 1, 0, [])
    board = Board(rules)
    ends: set[tuple[str, str]] = set()
    newest: dict[tuple[str, str], int] = {}
    moment = 0.0
    for number, (what, now, value) in enumerate(lines[1:], start=2):
        moment = moment if now is None else now
        if between is not None and what != "board":
            between(board, moment)
        if what == "board":
            board, ends, newest = Board(rules, now=now, wall=value), set(), {}
            told.terms += 1
        elif what == "decide":
            found = board.decide(now, value[0])
            if written(found) != value[1]:
                told.problems.append(f"line {number}: decided {written(found)}, recorded was {value[1]}")
            told.dispatches += sum(isinstance(each, Dispatch) for each in found)
            told.problems += _in_order(found, ends, newest, number)
        elif what == "place_trials":
            board.place_trials({name: read(each) for name, each in value.items()}, now)
        elif what == "restore":
            board.restore(value[0], value[1], now)
        elif now is None:
            getattr(board, what)(read(value))
        else:
            getattr(board, what)(read(value), now)
        told.problems += [f"line {number}: {problem}" for problem in ledger_problems(board)]
    return told


def _in_order(
    found: list[Decision], ends: set[tuple[str, str]], newest: dict[tuple[str, str], int], line: int
) -> list[str]:
    """One end a job, no attempt after it, and attempts in order (one that was refused is said again)."""
    problems: list[str] = []
    for each in found:
        key = (each.project, each.job)
        if isinstance(each, Finish):
            if key in ends:
                problems.append(f"line {line}: {key} is to end twice")
            ends.add(key)
        if isinstance(each, Dispatch):
            if key in ends or each.attempt < newest.get(key, 0):
                problems.append(
                    f"line {line}: {key} attempt {each.attempt} after {newest.get(key)}, ended: {key in ends}"
                )
            newest[key] = each.attempt
    return problems
