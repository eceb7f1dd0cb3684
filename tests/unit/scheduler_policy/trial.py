"""A small pure world around a board: a broker that takes its time, workers, providers that fail, producers that cancel.

Time is simulated; chance comes from one seeded generator. Every call to the board is logged, so that it can be
replayed; every commit is logged, so that windows can be audited; every result record is create-only, as the broker's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from job_contracts.desk import Planned
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Abort, Decision, Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, Fact, Submitted
from scheduler.policy.failover import NOTHING_SPENT
from tests.unit.scheduler_policy import made


@dataclass
class Ends:
    """How an attempt ends: after ``seconds``, with a failure or (``None``) with the job's result."""

    seconds: float = 0.5
    kind: FailureKind | None = None
    extra: dict[str, Any] = field(default_factory=dict)


NOT_CALLED = {FailureKind.HANDED_BACK, FailureKind.GRANT_EXPIRED}
RENEW = 2.0
"""Seconds after which a leader without anything to dispatch writes its levels all the same."""
Behave = Callable[[Dispatch, Random, float], Ends]


@dataclass
class Batch:
    """What one leader handed to the broker, and the levels after it that its record tells."""

    dispatches: list[Dispatch]
    levels: Mapping[str, Mapping[str, float]]
    stored: bool = False


@dataclass
class Commit:
    """One grant as the broker has stored it, and what the provider metered of it: requests, input, output."""

    at: float
    dispatch: Dispatch
    metered: tuple[float, int, int]


class Trial:
    """Runs a board until nothing more can happen, or until a time.

    ``single``: as a broker of one node is written to, first the record with the levels, then each dispatch under its
    fence. Otherwise the record and its dispatches are stored at once or not at all.
    """

    def __init__(
        self,
        board: Board,
        behave: Behave | None = None,
        *,
        seed: int = 0,
        ack: float = 0.004,
        refuse: float = 0.0,
        room: int = 200,
        single: bool = False,
    ) -> None:
        self.board = board
        self.behave = behave or (lambda *_: Ends())
        self.random = Random(seed)
        self.ack = ack
        self.refuse = refuse
        self.room = room
        self.single = single
        self.now = 0.0
        self.log: list[tuple[str, Any, float]] = []
        self.decisions: list[tuple[float, Decision]] = []
        self.commits: list[Commit] = []
        self.results: dict[tuple[str, str], JobState] = {}
        self.finishes: dict[tuple[str, str], Finish] = {}
        self.records_refused = 0
        self.live: dict[tuple[str, str, int], Dispatch] = {}
        self.submissions: dict[tuple[str, str], Submitted] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._stopped: set[tuple[str, str, int]] = set()
        self._term = 0
        self._sent: Batch | None = None
        self._ending: set[tuple[str, str]] = set()
        self._record_of_lease: tuple[Mapping[str, Mapping[str, float]], float] = ({}, 0.0)
        self.outcomes: dict[tuple[str, str], AttemptEnded] = {}
        self.leaderless = False

    # ------------------------------------------------------------------------------------------------------- driving

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Schedule."""
        self._serial += 1
        heappush(self._events, (time, self._serial, do))

    def tell(self, fact: Fact) -> None:
        """Apply a fact now."""
        if isinstance(fact, Submitted):
            self.submissions.setdefault((fact.project, fact.job), fact)
        if isinstance(fact, AttemptEnded):
            self.outcomes[(fact.project, fact.job)] = fact
        if self.leaderless:
            return
        self.log.append(("apply", fact, self.now))
        self.board.apply(fact, self.now)

    def submit(self, *facts: Submitted) -> None:
        """Each at its ``submitted`` time."""
        for fact in facts:
            self.at(fact.submitted, lambda fact=fact: self.tell(fact))  # type: ignore[misc]

    def run(self, until: float = float("inf")) -> None:
        """Until ``until``, or until nothing is left to happen."""
        while True:
            self._decide()
            if not self._events or self._events[0][0] > until:
                return
            self.now, _, do = heappop(self._events)
            do()
            while self._events and self._events[0][0] == self.now:
                heappop(self._events)[2]()

    def _decide(self) -> None:
        if self._sent is not None:
            return
        if self.now - self._record_of_lease[1] >= RENEW:
            self._record_of_lease = (self.board.levels(self.now), self.now)
        self.log.append(("decide", self.room, self.now))
        dispatches: list[Dispatch] = []
        for decision in self.board.decide(self.now, self.room):
            self.decisions.append((self.now, decision))
            match decision:
                case Dispatch():
                    dispatches.append(decision)
                case Finish():
                    self._finish(decision)
                case Abort():
                    self._stopped.add((decision.project, decision.job, decision.attempt))
        if dispatches:
            self._send(dispatches)
            return
        wake = self.board.next_wake(self.now)
        if wake is not None:
            assert wake > self.now, "it would ask again at once, for ever"
            self.at(wake, lambda: None)

    def _send(self, dispatches: list[Dispatch]) -> None:
        term, batch = self._term, Batch(dispatches, self.board.levels(self.now))
        self._sent = batch
        if self.single:
            self._record_of_lease = (batch.levels, self.now)
        took = self.ack * (0.5 + self.random.random())
        done = self.now + took
        if self.random.random() < self.refuse:
            self.at(done, lambda: self._refused(dispatches, term))
            return

        def arrive() -> None:
            if term == self._term:
                self._arrive(batch)

        self.at(self.now + took * self.random.random(), arrive)
        self.at(done, lambda: self._stored(dispatches, term))

    def _arrive(self, batch: Batch) -> None:
        """The broker stores it, once."""
        batch.stored = True
        if not self.single:
            self._record_of_lease = (batch.levels, self.now)
        self._commit(batch.dispatches)

    def _commit(self, dispatches: list[Dispatch]) -> None:
        for dispatch in dispatches:
            commit = Commit(self.now, dispatch, (1, dispatch.input_tokens, dispatch.output_tokens))
            self.commits.append(commit)
            self.live[(dispatch.project, dispatch.job, dispatch.attempt)] = dispatch
            ends = self.behave(dispatch, self.random, self.now)
            self.at(self.now + ends.seconds, lambda commit=commit, ends=ends: self._end(commit, ends))  # type: ignore[misc]

    def _refused(self, dispatches: list[Dispatch], term: int) -> None:
        if term == self._term:
            self._sent = None
            self.log.append(("refused", dispatches, self.now))
            self.board.refused(dispatches, self.now)

    def _stored(self, dispatches: list[Dispatch], term: int) -> None:
        if term == self._term:
            self._sent = None
            self.log.append(("stored", dispatches, self.now))
            self.board.stored(dispatches, self.now)

    # -------------------------------------------------------------------------------------------------------- workers

    def _end(self, commit: Commit, ends: Ends) -> None:
        dispatch = commit.dispatch
        attempt = (dispatch.project, dispatch.job, dispatch.attempt)
        self.live.pop(attempt, None)
        kind = ends.kind
        if attempt in self._stopped:
            kind = FailureKind.CANCELLED
        if kind is not None:
            called = kind not in NOT_CALLED
            if kind in NOTHING_SPENT or not called:
                commit.metered = (float(called), 0, 0)
            else:
                commit.metered = (1.0, dispatch.input_tokens, 0)
            self.tell(made.ended(dispatch, kind, called=called, **ends.extra))
        elif self._record((dispatch.project, dispatch.job), JobState.SUCCEEDED):
            self.tell(made.succeeded(dispatch, seconds=ends.seconds))

    def _finish(self, finish: Finish) -> None:
        key = (finish.project, finish.job)
        assert key not in self._ending, f"{key} is to end twice"
        self._ending.add(key)
        self.finishes[key] = finish
        self.at(self.now + self.ack, lambda: self._write(finish))

    def _write(self, finish: Finish) -> None:
        if self._record((finish.project, finish.job), finish.state):
            self.tell(made.settled(finish))

    def _record(self, key: tuple[str, str], state: JobState) -> bool:
        if key in self.results:
            self.records_refused += 1
            return False
        self.results[key] = state
        return True

    # ------------------------------------------------------------------------------------------------------ take-over

    def take_over(self, board: Board, silence: float) -> None:
        """The leader is gone, its last batch perhaps stored, perhaps not; another starts from what lies in the streams.

        The levels are those of the last record that was stored; ``silence`` has been observed since then at least. What
        expects that record can be stored until the successor's replaces it. An end that was decided and is not written
        yet is decided again: whichever record comes first counts.
        """
        self._term += 1
        batch, self._sent = self._sent, None
        self._ending.clear()
        if batch is not None and not batch.stored and self.random.random() < 0.5:
            late = silence * self.random.random() if self.single else 0.0
            self.at(self.now + late, lambda: self._arrive(batch))
        self.run_workers(self.now + silence)
        levels, since = self._record_of_lease
        self._record_of_lease = (levels, self.now)
        self.board = board
        self.log.clear()
        self.decisions.clear()
        board.restore(levels, self.now - since, self.now)
        for key, fact in self.submissions.items():
            if key not in self.results:
                self.tell(fact)
        for dispatch in list(self.live.values()):
            self.tell(made.in_flight(dispatch))
        for key, outcome in self.outcomes.items():
            if key not in self.results and (*key, outcome.attempt + 1) not in self.live:
                self.tell(outcome)

    def run_workers(self, until: float) -> None:
        """Nobody leads: calls go on, results are written, outcomes wait to be read."""
        self.leaderless = True
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heappop(self._events)
            do()
        self.now = until
        self.leaderless = False


def replay(log: list[tuple[str, Any, float]], board: Board, *, ask: bool = False) -> Iterator[tuple[float, Decision]]:
    """The same calls to another board; with ``ask`` it is also asked everything there is to ask, all the time."""
    for name, value, now in log:
        if name == "decide":
            for decision in board.decide(now, value):
                yield now, decision
        else:
            getattr(board, name)(value, now)
        if ask:
            board.next_wake(now)
            board.levels(now)
            board.counts(now)
            board.demands(now)
            list(board.in_flight())
            if isinstance(value, Submitted | AttemptEnded):
                board.status(value.project, value.job, now)
                board.choice(value.project, value.job, now)
            if isinstance(value, Submitted):
                board.estimate(value.project, planned(value), now)


def planned(fact: Submitted) -> Planned:
    """The same job, asked about before it is submitted."""
    return Planned(
        route=fact.route,
        input_estimate=fact.input_estimate,
        max_output=fact.max_output,
        needs=fact.needs,
        size=fact.size,
        constraints=fact.constraints,
        lane=fact.lane,
        session=fact.session,
        explain=True,
    )
