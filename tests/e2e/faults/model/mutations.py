"""Deliberate mistakes, each of which the model must find: what would go unnoticed if the model were too kind.

A mutation replaces a piece of the real code while it is in force. ``look`` says where it is looked for: in ``policy``
(the machine over the board alone) or in ``services`` (whole runs over the memory broker), there with the faults that
bring it to light soonest.
"""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal

from runtime.bus.port import BusError
from scheduler import dispatcher, leadership, leading, lifeline, outcomes
from scheduler.policy import aftermath, arrivals, backlog, board, buckets, domains, early, grants, queues
from scheduler.policy.jobs import QUEUED
from tests.e2e.faults.model.network import Weather

Undo = Callable[[], None]


@dataclass(frozen=True)
class Mutation:
    """One mistake: its name says what was done to the code."""

    name: str
    apply: Callable[[], Undo]
    look: Literal["policy", "services"] = "policy"
    kinds: tuple[str, ...] = ()
    shape: dict[str, Any] = field(default_factory=dict)
    weather: Weather | None = None
    first: int = 0
    """The seed to begin with, where it was once found quickly."""
    sound: Weather | None = None
    """Where the mistake is the weather itself: the weather without it."""


def by_name(name: str) -> Mutation:
    """One of them."""
    return next(mutation for mutation in MUTATIONS if mutation.name == name)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The code with the mistake in it."""
    undo = mutation.apply()
    try:
        yield
    finally:
        undo()


def swap(owner: Any, name: str, mistake: Any) -> Callable[[], Undo]:
    """Another function or attribute in the place of one."""

    def apply() -> Undo:
        original = inspect.getattr_static(owner, name)
        setattr(owner, name, mistake)
        return lambda: setattr(owner, name, original)

    return apply


def edit(owner: Any, name: str, before: str, after: str) -> Callable[[], Undo]:
    """A function as it would be with other words in its source. Fails if those words are not there any more."""

    def apply() -> Undo:
        original = inspect.getattr_static(owner, name)
        function = original.fget if isinstance(original, property) else original
        function = function.__func__ if isinstance(function, staticmethod) else function
        assert isinstance(function, FunctionType)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(before) == 1, f"{owner.__name__}.{name} does not say {before!r} once any more"
        scope = dict(function.__globals__)
        exec(
            compile("from __future__ import annotations\n" + source.replace(before, after), "<mutation>", "exec"), scope
        )
        setattr(owner, name, scope[function.__name__])
        return lambda: setattr(owner, name, original)

    return apply


def nothing() -> Undo:
    """The mistake lies in the weather."""
    return lambda: None


# -- mistakes that are longer than a word


async def _believe_a_read(self: Any, bid: str) -> leadership.Verdict:
    """The rule that was broken: the record is mine, so it was stored; it is not, so it was not."""
    while True:
        started = self._clock.monotonic()
        try:
            seq, record = await self._read()
        except BusError:
            await asyncio.sleep(leadership.PROBE)
            continue
        if record is not None and record.bid == bid:
            self._advance(seq, started)
            return leadership.Verdict.STORED
        if record is not None and record.instance != self._instance:
            self.epoch = 0
            return leadership.Verdict.LOST
        self._advance(seq, started)
        return leadership.Verdict.NOT_STORED


async def _no_records(_: Any, dispatches: Any) -> dict[int, None]:
    return {dispatch.seq: None for dispatch in dispatches}


async def _none(*_: Any) -> None:
    return None


async def _empty(*_: Any) -> list[Any]:
    return []


def _keep_quiet(*_: Any, **__: Any) -> None:
    return None


def _both(*applied: Callable[[], Undo]) -> Callable[[], Undo]:
    def apply() -> Undo:
        undone = [each() for each in applied]

        def undo() -> None:
            for each in undone:
                each()

        return undo

    return apply


TAKEOVERS = ("kill leader", "pause leader", "kill leader")

MUTATIONS: tuple[Mutation, ...] = (
    # -- the buckets
    Mutation(
        "a bucket refills past what is not acknowledged yet",
        edit(buckets.Bucket, "level_at", "room = self.size - self.pending", "room = self.size"),
    ),
    Mutation(
        "a refund is given whatever room there was",
        edit(
            buckets.Bucket,
            "settle",
            "back = max(0.0, min(back, *self._room[first:], self.size - self.pending - self.level))",
            "back = max(0.0, min(back, self.size - self.pending - self.level))",
        ),
    ),
    Mutation(
        "a refused batch is refunded twice",
        edit(
            grants,
            "undo",
            "_let_go(job, held, (0, 0))",
            "held.deployment.gate.domain.undo(held.tokens, now)\n    _let_go(job, held, (0, 0))",
        ),
    ),
    Mutation(
        "a reservation is given back twice",
        edit(
            grants,
            "release",
            "_let_go(job, held, used)",
            "_let_go(job, held, used)\n    held.deployment.gate.domain._vacate(held.tokens)",
        ),
    ),
    Mutation(
        "a lost worker's reservation is not released",
        edit(
            aftermath.Aftermath,
            "ended",
            "if held is not None and held.attempt == fact.attempt:",
            "if fact.failure.kind is FailureKind.WORKER_LOST:\n        story.held = None\n"
            "    elif held is not None and held.attempt == fact.attempt:",
        ),
    ),
    Mutation(
        "a refused batch keeps its tokens",
        edit(
            grants,
            "undo",
            "held.deployment.gate.domain.undo(held.tokens, now)",
            "held.deployment.gate.domain._vacate(held.tokens)",
        ),
    ),
    Mutation(
        "buckets are full at a take-over",
        swap(board.Board, "restore", _keep_quiet),
    ),
    Mutation("an adopted attempt takes no slot", edit(grants, "adopt", "gate.domain.occupy(tokens)", "pass")),
    Mutation("a project's own count is not lowered", edit(grants, "_let_go", "tenant.flying -= 1", "pass")),
    Mutation(
        "a closed grant stays pending",
        edit(domains.Domain, "confirm", "bucket.confirm(amount_of(unit, tokens), now)", "pass"),
    ),
    # -- facts that come late, twice, or of something else
    Mutation(
        "an outcome counts whatever its attempt's number",
        edit(aftermath.Aftermath, "ended", "if stale or job.state == ENDING:", "if job.state == ENDING:"),
        first=300,  # few walks show it
    ),
    Mutation(
        "a result of an older attempt leaves the newer one's reservation",
        edit(aftermath.Aftermath, "settled", "elif held is not None:", "elif held is None:"),
    ),
    Mutation("attempts under way are not known to a successor", swap(arrivals.Arrivals, "in_flight", _keep_quiet)),
    # -- times
    Mutation(
        "not_before is forgotten",
        edit(
            arrivals.Arrivals,
            "submitted",
            "fact.not_before is not None and fact.not_before > now",
            "fact.not_before is None and False",
        ),
    ),
    Mutation(
        "jobs that wait for a time do not expire",
        edit(backlog.Backlog, "wake", "elif job.state != ENDING:", f"elif job.state == {QUEUED}:"),
    ),
    Mutation("deadlines are not looked at", swap(queues.Calendar, "due", lambda *_: iter(()))),
    # -- cancels
    Mutation(
        "a cancel needs no token",
        edit(board.Board, "_cancel_asked", "job.token == fact.token and ", ""),
    ),
    Mutation(
        "an early cancel needs no token",
        edit(early, "_key", "{project}\\0{job}\\0{token}", "{project}\\0{job}"),
    ),
    Mutation("early cancels are not remembered", swap(backlog.Backlog, "remember_cancel", _keep_quiet)),
    Mutation(
        "a cancelled job is tried again when its attempt fails",
        edit(aftermath.Aftermath, "_judge", "if story.cancel is not None:", "if story.cancel is None and False:"),
    ),
    # -- the services
    Mutation(
        "dispatches carry no fence",
        nothing,
        "services",
        ("pause leader",),
        {"jobs": 100, "faults": 5},
        Weather(keep_expected=False),
        sound=Weather(),
    ),
    Mutation(
        "an unknown outcome is resolved by a read",
        swap(leadership.Lease, "_resolve", _believe_a_read),
        "services",
        ("weather",),
        {"replicas": 3, "jobs": 100, "faults": 0, "failing": 0.0},
        Weather(late=0.3),
    ),
    Mutation(
        "results are written over one another",
        nothing,
        "services",
        ("pause worker",),
        {"jobs": 100, "faults": 10},
        Weather(keep_create_only=False),
        sound=Weather(),
    ),
    Mutation(
        "no tombstone is looked up",
        swap(dispatcher.Dispatcher, "_ended", _no_records),
        "services",
        TAKEOVERS,
        {"jobs": 100, "faults": 4},
        first=10,
    ),
    Mutation(
        "cancels are not read before a dispatch",
        swap(dispatcher.Dispatcher, "_heard_all_cancels", _none),
        "services",
        ("weather",),
        {"jobs": 100, "faults": 2},
        Weather(lag=1.0),
    ),
    Mutation(
        "WORK is not read at a take-over",
        swap(leading, "work_in_flight", _empty),
        "services",
        TAKEOVERS,
        {"jobs": 100, "faults": 4, "seconds": 6.0},
    ),
    Mutation(
        "nothing is read behind a barrier, and no tombstone is looked up",
        _both(swap(leading, "behind_barrier", _none), swap(dispatcher.Dispatcher, "_ended", _no_records)),
        "services",
        TAKEOVERS,
        {"jobs": 100, "faults": 5},
        Weather(lag=1.5),
    ),
    Mutation(
        "outcomes from before the term are dropped",
        edit(
            outcomes.Outcomes, "replay", "early, self._early = self._early or [], None", "early, self._early = [], None"
        ),
        "services",
        TAKEOVERS,
        {"jobs": 100, "faults": 5, "failing": 0.4},
    ),
    Mutation(
        "silent workers are not noticed",
        swap(lifeline.Lifeline, "_find_lost", _none),
        "services",
        ("kill worker",),
        {"jobs": 60, "faults": 4},
    ),
)
