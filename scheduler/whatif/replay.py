"""One board through a stretch of traffic, in simulated time: arrivals at their moments, answers as places give them.

The broker is taken to be at once, workers to be there; whatever limits, budgets, breakers and failures do is the
board's own doing, the same code that leads in production. No chance is in it: the same traffic gives the same fates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from catalogue.prices import cost_of
from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState, Lane
from job_contracts.money import picodollars
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, Charged, PoolSeen, Settled, Submitted
from scheduler.policy.failover import NOTHING_SPENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.policy.rules import Rules
    from scheduler.whatif.places import Answering, Ends
    from scheduler.whatif.traffic import Arrival

SLOTS = 10_000
"""Calls at once that the workers of a pool take, where the configuration does not bound them."""
ROOM = 1_000
TICK = 0.001
NEVER = float("inf")


@dataclass(slots=True)
class Fate:
    """What became of one job."""

    arrival: Arrival
    state: JobState = JobState.QUEUED
    failure: FailureKind | None = None
    ended: float = 0.0
    """UTC seconds."""
    first: float | None = None
    """UTC seconds of its first dispatch."""
    first_token: float | None = None
    """Seconds from its submission."""
    deployment: str | None = None
    """Where it was last."""
    attempts: int = 0
    cost: int = 0
    """Picodollars of all its attempts whose price is known."""
    unpriced: int = 0

    @property
    def seconds(self) -> float:
        """From its submission to its end."""
        return self.ended - self.arrival.at

    @property
    def waited(self) -> float:
        """Seconds until it went to a provider, or until its end if it never did."""
        return (self.ended if self.first is None else self.first) - self.arrival.at


class Replay:
    """Drives a fresh board of these rules from ``start`` (UTC seconds) on.

    ``witness`` is told of every attempt as it begins, with how it will end and the UTC seconds of now.
    """

    def __init__(
        self,
        rules: Rules,
        answering: Answering,
        *,
        start: float,
        slots: int = SLOTS,
        witness: Callable[[Dispatch, Arrival, Ends, float], None] | None = None,
    ) -> None:
        self._rules = rules
        self._answering = answering
        self._start = start
        self._witness = witness
        self._board = Board(rules, now=0.0, wall=start)
        self._board.trust_spending(True)
        for pool in {rule.provider: None for rule in rules.domains.values()}:
            self._board.apply(PoolSeen(pool, slots), 0.0)
        self._lanes: dict[str, Lane] = {
            name: "std" if "std" in rule.lanes or not rule.lanes else rule.lanes[0]
            for name, rule in rules.projects.items()
        }
        self._open: dict[str, Fate] = {}
        self._ends: list[tuple[float, int, Dispatch, Ends]] = []
        self._serial = 0
        self._charges = any((rule.budget, rule.tags) != (None, {}) for rule in rules.projects.values()) or any(
            rule.budget is not None for rule in rules.routes.values()
        )

    def run(self, arrivals: Iterable[Arrival]) -> list[Fate]:
        """Until every one of them has ended; they come in the order of their moments."""
        fates: list[Fate] = []
        coming = iter(arrivals)
        following = next(coming, None)
        now, wake = 0.0, NEVER
        while True:
            arrives = NEVER if following is None else max(following.at - self._start, now)
            soonest = min(arrives, wake, self._ends[0][0] if self._ends else NEVER)
            if soonest == NEVER:
                return fates
            now = soonest
            while following is not None and following.at - self._start <= now:
                fates.append(self._submit(following, now))
                following = next(coming, None)
            while self._ends and self._ends[0][0] <= now:
                _, _, dispatch, ends = heappop(self._ends)
                self._end(dispatch, ends, now)
            wake = self._decide(now)

    def _submit(self, arrival: Arrival, now: float) -> Fate:
        self._serial += 1
        fate = self._open[str(self._serial)] = Fate(arrival)
        fact = Submitted(
            project=arrival.project,
            job=str(self._serial),
            seq=self._serial,
            route=arrival.route,
            lane=arrival.lane or self._lanes.get(arrival.project, "std"),
            priority=5,
            submitted=now,
            input_estimate=arrival.usage.input,
            token="",
            body_hash="",
            max_output=arrival.max_output,
            deadline=None if arrival.deadline is None else arrival.deadline - self._start,
            session=arrival.session,
            needs=arrival.needs,
            key=arrival.key,
            tags=arrival.tags,
            # By its bytes a hard budget reserves for it: facts tell tokens alone, of about four bytes each.
            size=arrival.size or 4 * arrival.usage.input,
            constraints=arrival.constraints,
        )
        self._board.apply(fact, now)
        return fate

    def _decide(self, now: float) -> float:
        """Whatever is due, and when there could be more."""
        while True:
            dispatches: list[Dispatch] = []
            finished = False
            for decision in self._board.decide(now, ROOM):
                if isinstance(decision, Dispatch):
                    dispatches.append(decision)
                elif isinstance(decision, Finish):
                    finished = True
                    self._finish(decision, now)
            if dispatches:
                self._board.stored(dispatches, now)
                for dispatch in dispatches:
                    self._begin(dispatch, now)
            if not finished and len(dispatches) < ROOM:
                break
        wake = self._board.next_wake(now)
        return NEVER if wake is None else max(wake, now + TICK)

    def _begin(self, dispatch: Dispatch, now: float) -> None:
        fate, wall = self._open[dispatch.job], self._start + now
        fate.attempts += 1
        fate.deployment = dispatch.deployment
        if fate.first is None:
            fate.first = wall
        ends = self._answering.ends(fate.arrival, dispatch.deployment, fate.attempts, wall)
        if self._witness is not None:
            self._witness(dispatch, fate.arrival, ends, wall)
        self._serial += 1
        heappush(self._ends, (now + ends.seconds, self._serial, dispatch, ends))

    def _end(self, dispatch: Dispatch, ends: Ends, now: float) -> None:
        fate = self._open.get(dispatch.job)
        if fate is None:
            return
        usage = fate.arrival.usage
        if ends.kind is not None:
            spent = Usage() if ends.kind in NOTHING_SPENT else Usage(input=usage.input)
            self._charge(fate, dispatch, spent, now, won=False)
            message = f"as it failed at {dispatch.deployment}"
            failure = Failure(
                kind=ends.kind, message=message, deployment=dispatch.deployment, retry_after=ends.retry_after
            )
            ended = AttemptEnded(
                dispatch.project, dispatch.job, dispatch.attempt, dispatch.deployment, failure, record=None
            )
            self._board.apply(ended, now)
            return
        self._charge(fate, dispatch, usage, now, won=True)
        if ends.first_token is not None:
            fate.first_token = now - ends.seconds + ends.first_token + self._start - fate.arrival.at
        self._settle(dispatch.job, JobState.SUCCEEDED, now)
        self._board.apply(
            Settled(
                dispatch.project,
                dispatch.job,
                JobState.SUCCEEDED,
                dispatch.attempt,
                dispatch.deployment,
                usage,
                ends.seconds,
                ends.first_token,
            ),
            now,
        )

    def _finish(self, finish: Finish, now: float) -> None:
        self._settle(finish.job, finish.state, now, finish.failure.kind)
        settled = Settled(finish.project, finish.job, finish.state, finish.attempt, None, Usage())
        self._board.apply(settled, now)

    def _settle(self, job: str, state: JobState, now: float, failure: FailureKind | None = None) -> None:
        fate = self._open.pop(job)
        fate.state, fate.failure, fate.ended = state, failure, self._start + now

    def _charge(self, fate: Fate, dispatch: Dispatch, usage: Usage, now: float, *, won: bool) -> None:
        cost = 0
        if usage.total:
            moment = datetime.fromtimestamp(self._start + now, UTC)
            amount = cost_of(usage, self._rules.deployments[dispatch.deployment].prices, moment)
            if amount is None:
                fate.unpriced += 1
            else:
                cost = picodollars(amount)
        fate.cost += cost
        if self._charges:
            arrival = fate.arrival
            self._board.apply(
                Charged(
                    (dispatch.project, dispatch.job, dispatch.attempt),
                    dispatch.project,
                    dispatch.route,
                    dispatch.key,
                    arrival.tags,
                    dispatch.charged,
                    cost,
                    dispatch.cost,
                    (False, won, True, True),
                ),
                now,
            )
