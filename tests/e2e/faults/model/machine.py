"""The policy between streams, one step at a time: a machine whose every interleaving hypothesis may choose and shrink.

The streams are plain dictionaries with the broker's rules (create-only results, one submission a subject, a fence on
dispatches); the leader's steps are those of the services: read, decide, hand over, hear. Workers fetch, call, answer,
fall silent and come back. A new leader starts from what lies in the streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import LANES, JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, CancelAsked, InFlight, PoolSeen, Settled, Submitted
from scheduler.policy.rules import Limit, ProjectRule, Rules
from tests.e2e.faults.model.invariants import ledger_problems, overflow
from tests.unit.scheduler_policy import made

Key = tuple[str, str]
SKEW = 1.0
FAILS = (
    *(FailureKind.SERVER_ERROR, FailureKind.RATE_LIMIT, FailureKind.CONNECT, FailureKind.STALLED),
    *(FailureKind.HANDED_BACK, FailureKind.BAD_REQUEST, FailureKind.CONTENT_POLICY, FailureKind.AUTH),
)
UNCALLED = {FailureKind.HANDED_BACK, FailureKind.GRANT_EXPIRED}
AT_THE_DOOR = {FailureKind.RATE_LIMIT, FailureKind.CONNECT, FailureKind.BAD_REQUEST, FailureKind.AUTH}


def rules() -> Rules:
    """Small buckets that refill within seconds, two providers, a project that may have two attempts in flight."""
    limits = (Limit("requests", 40, 10.0, 0.1, SKEW), Limit("input_tokens", 4_000, 10.0, 0.1, SKEW))
    return made.rules(
        {"r": ("a/m", "b/m"), "s": ("a/m",)},
        limits={"a": limits, "b": limits},
        concurrency={"b": 3},
        projects={
            "p": ProjectRule("p", retry_share=1.0),
            "q": ProjectRule("q", retry_share=1.0),
            "few": ProjectRule("few", max_in_flight=2, retry_share=1.0),
        },
        expected_output=10,
    )


@dataclass
class Attempt:
    """One attempt that the broker has stored."""

    dispatch: Dispatch
    granted: float
    committed: float
    called: float | None = None
    metered: tuple[float, int, int] = (0.0, 0, 0)
    answered: bool = False


@dataclass
class Leader:
    """One process that believes it leads."""

    board: Board
    fence: int
    batch: list[Dispatch] | None = None
    """Handed over, not heard of."""
    stored: bool | None = None
    """What became of it in the broker; ``None`` while it is under way."""
    granted: float = 0.0
    levels: Any = None
    read: set[object] = field(default_factory=set)
    """What it has read of the streams."""
    knew: dict[Key, bool] = field(default_factory=dict)
    """For each job of the batch, whether a cancel of it had been stored when the batch was made."""


class Machine(RuleBasedStateMachine):
    """See the module."""

    jobs = Bundle("jobs")

    @initialize()
    def begin(self) -> None:
        """Nobody has led before."""
        self.now = 100.0
        self.laws = rules()
        self.fence = 1
        self.record: tuple[Any, float] | None = None
        self.submit: dict[Key, Submitted] = {}
        self.first: dict[Key, Submitted] = {}
        self.work: dict[Key, Attempt] = {}
        self.out: dict[Key, AttemptEnded] = {}
        self.res: dict[Key, Settled] = {}
        self.ctl: dict[Key, CancelAsked] = {}
        self.attempts: list[Attempt] = []
        self.finished: set[Key] = set()
        self.newest: dict[Key, int] = {}
        self.lost: set[tuple[Key, int]] = set()
        self.serial = 0
        self.zombies: list[Leader] = []
        self.leader = self._lead()

    # ------------------------------------------------------------------------------------------------------- producers

    @rule(
        target=jobs,
        project=st.sampled_from(["p", "p", "q", "few"]),
        route=st.sampled_from(["r", "s"]),
        lane=st.sampled_from(LANES),
        size=st.sampled_from([1, 50, 300]),
        after=st.sampled_from([None, None, None, 2.0, 15.0]),
        within=st.sampled_from([None, None, None, 1.0, 8.0, 60.0]),
    )
    def submits(
        self, *, project: str, route: str, lane: str, size: int, after: float | None, within: float | None
    ) -> Key:
        """A producer submits a job, perhaps for later, perhaps with a deadline."""
        self.serial += 1
        fact = made.job(
            self.serial,
            project=project,
            route=route,
            lane=lane,
            input_estimate=size,
            submitted=self.now,
            not_before=None if after is None else self.now + after,
            deadline=None if within is None else self.now + within,
        )
        key = (project, fact.job)
        self.submit[key] = self.first[key] = fact
        return key

    @rule(target=jobs, number=st.integers(1, 3), project=st.sampled_from(["p", "q"]))
    def cancels_early(self, number: int, project: str) -> Key:
        """A cancel overtakes its submission, which comes right after it."""
        self.serial += 1
        fact = made.job(self.serial, project=project, submitted=self.now, input_estimate=10 * number)
        key = (project, fact.job)
        self.ctl[key] = made.cancel(fact)
        self._read()
        self.submit[key] = self.first[key] = fact
        return key

    @rule(key=jobs, right=st.booleans())
    def cancels(self, key: Key, right: bool) -> None:
        """A producer cancels a submission of its own, or one that is not there any more (another token)."""
        asked = made.cancel(self.first[key])
        standing = self.ctl.get(key)
        if right:
            self.ctl[key] = asked
        elif standing is None or standing.token != asked.token:
            self.ctl[key] = replace(asked, token="of another submission")

    # ------------------------------------------------------------------------------------------------------ the leader

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.9, 1.5, 5.0]))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self.now += seconds

    @rule(room=st.sampled_from([1, 3, 50]))
    @precondition(lambda self: self.leader.batch is None)
    def decides(self, room: int) -> None:
        """The leader reads, decides, and hands its batch over."""
        self._read()
        leader, dispatches = self.leader, list[Dispatch]()
        for decision in leader.board.decide(self.now, room):
            if isinstance(decision, Dispatch):
                dispatches.append(decision)
            elif isinstance(decision, Finish):
                self._finish(decision)
        if dispatches:
            leader.batch, leader.stored, leader.granted = dispatches, None, self.now
            leader.levels = leader.board.levels(self.now)
            leader.knew = {(d.project, d.job): self._cancelled((d.project, d.job)) for d in dispatches}

    def _finish(self, finish: Finish) -> None:
        key = (finish.project, finish.job)
        if finish.state is JobState.CANCELLED:
            assert self._cancelled(key), f"{key} ended cancelled, and nobody had cancelled it"
        self._write(key, made.settled(finish))

    @rule(room=st.sampled_from([2, 50]))
    def all_goes_well(self, room: int) -> None:
        """A whole round without trouble: decided, stored, heard, called."""
        if self.leader.batch is None:
            self.decides(room)
        if self.leader.batch is not None and self.leader.stored is None:
            self._arrive(self.leader)
        if self.leader.batch is not None:
            self.leader_hears()
        for attempt in [each for each in self.attempts if each.called is None and not each.answered]:
            self.worker_calls(self._place(attempt))

    @rule()
    @precondition(lambda self: self.leader.batch is not None and self.leader.stored is None)
    def batch_arrives(self) -> None:
        """The broker stores the leader's batch."""
        self._arrive(self.leader)

    @rule()
    @precondition(lambda self: bool(self.zombies))
    def late_batch_arrives(self) -> None:
        """What an earlier leader had handed over comes at last."""
        self._arrive(self.zombies.pop())

    @rule()
    @precondition(lambda self: self.leader.batch is not None and self.leader.stored is None)
    def batch_is_refused(self) -> None:
        """It is lost on the way, and a probe under the same fence finds that out."""
        self.leader.stored = False

    @rule()
    @precondition(lambda self: self.leader.batch is not None and self.leader.stored is not None)
    def leader_hears(self) -> None:
        """The answer comes, or what became of the batch is found out."""
        leader = self.leader
        batch, leader.batch = leader.batch or [], None
        (leader.board.stored if leader.stored else leader.board.refused)(batch, self.now)

    @rule(silence=st.sampled_from([0.0, 3.0, 8.0]))
    def takes_over(self, silence: float) -> None:
        """Another process leads; the one before does not know it yet."""
        self.now += silence
        if self.leader.batch is not None and self.leader.stored is None:
            self.zombies.append(self.leader)
        self.fence += 1
        self.leader = self._lead()

    @rule(index=st.integers(0, 30))
    @precondition(lambda self: bool(self.work))
    def worker_is_lost(self, index: int) -> None:
        """The leader gives an attempt up; its worker may be alive all the same."""
        key = list(self.work)[index % len(self.work)]
        attempt = self.work[key]
        held = next((each for each in self.leader.board.in_flight() if each[:2] == key), None)
        if held is None or held[2] != attempt.dispatch.attempt or self._unheard(key):
            return
        del self.work[key]
        self.lost.add((key, attempt.dispatch.attempt))
        fact = made.ended(attempt.dispatch, FailureKind.WORKER_LOST)
        self._report(key, fact)

    # --------------------------------------------------------------------------------------------------------- workers

    @rule(index=st.integers(0, 30))
    @precondition(lambda self: any(each.called is None and not each.answered for each in self.attempts))
    def worker_calls(self, index: int) -> None:
        """A worker fetches an attempt and calls its provider, if the grant is good."""
        waiting = [each for each in self.attempts if each.called is None and not each.answered]
        attempt = waiting[index % len(waiting)]
        key = (attempt.dispatch.project, attempt.dispatch.job)
        if self.work.get(key) is not attempt:
            attempt.answered = True  # taken back before anybody fetched it
        elif self.now - attempt.granted > SKEW:
            attempt.answered = True
            del self.work[key]
            self._report(key, made.ended(attempt.dispatch, FailureKind.GRANT_EXPIRED, called=False))
        else:
            attempt.called = self.now
            attempt.metered = (1.0, attempt.dispatch.input_tokens, attempt.dispatch.output_tokens)

    @rule(
        index=st.integers(0, 30),
        kind=st.sampled_from([None, None, None, *FAILS]),
        used=st.sampled_from([0.1, 1.0]),
        wait=st.sampled_from([None, 6.0]),
    )
    @precondition(lambda self: any(each.called is not None and not each.answered for each in self.attempts))
    def call_ends(self, index: int, kind: FailureKind | None, used: float, wait: float | None) -> None:
        """A call comes to its end, perhaps of a worker that was given up."""
        running = [each for each in self.attempts if each.called is not None and not each.answered]
        self._answer(running[index % len(running)], kind, used, wait)

    def _answer(self, attempt: Attempt, kind: FailureKind | None, used: float, wait: float | None = None) -> None:
        dispatch = attempt.dispatch
        key = (dispatch.project, dispatch.job)
        attempt.answered = True
        mine = self.work.get(key) is attempt
        tokens = (int(dispatch.input_tokens * used), int(dispatch.output_tokens * used))
        if kind is None:
            attempt.metered = (1.0, *tokens)
            self._write(key, made.succeeded(dispatch, Usage(input=tokens[0], output=tokens[1])))
        else:
            called = kind not in UNCALLED
            attempt.metered = (float(called), 0, 0)
            if called and kind not in AT_THE_DOOR:
                attempt.metered = (1.0, dispatch.input_tokens, 0)
            self._report(key, made.ended(dispatch, kind, called=called, retry_after=wait))
        if mine:
            del self.work[key]

    # -------------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def reservations_are_the_sum_over_live_attempts(self) -> None:
        """I3."""
        found = ledger_problems(self.leader.board)
        assert not found, found

    @invariant()
    def nobody_was_admitted_beyond_a_limit(self) -> None:
        """I2."""
        for name, domain in self.laws.domains.items():
            mine = [each for each in self.attempts if each.dispatch.domain == name]
            for place, limit in enumerate(domain.limits):
                found = overflow(name, limit, [(each.committed, float(each.metered[place])) for each in mine])
                assert not found, found

    def teardown(self) -> None:
        """Nothing goes wrong any more: every job comes to its end, and nothing is left reserved (I1, I3, I4)."""
        if not hasattr(self, "leader"):
            return
        self.zombies.clear()
        for _ in range(4_000):
            self._read()
            if self.leader.batch is not None:
                if self.leader.stored is None:
                    self._arrive(self.leader)
                self.leader_hears()
            for attempt in [each for each in self.attempts if not each.answered]:
                if attempt.called is None:
                    self.worker_calls(self._place(attempt))
                else:
                    self._answer(attempt, None, 1.0)
            self._read()
            self.decides(50)
            self.nobody_was_admitted_beyond_a_limit()
            if self.leader.batch is None and self.first.keys() <= self.res.keys():
                break
            if self.leader.batch is None:
                wake = self.leader.board.next_wake(self.now)
                assert wake is not None, f"without an end: {sorted(self.first.keys() - self.res.keys())}"
                self.now = max(wake, self.now + 0.001)
        assert self.first.keys() == self.res.keys(), f"without an end: {self.first.keys() ^ self.res.keys()}"
        self._read()
        self.reservations_are_the_sum_over_live_attempts()
        counts = self.leader.board.counts(self.now)
        assert not counts.unfinished, counts
        assert set(counts.reserved.values()) == {(0, 0, 0)}, counts

    # --------------------------------------------------------------------------------------------------------- streams

    def _place(self, attempt: Attempt) -> int:
        waiting = [each for each in self.attempts if each.called is None and not each.answered]
        return next(place for place, each in enumerate(waiting) if each is attempt)

    def _cancelled(self, key: Key) -> bool:
        asked = self.ctl.get(key)
        return asked is not None and asked.token == self.first[key].token

    def _unheard(self, key: Key) -> bool:
        batch = self.leader.batch or []
        return any((dispatch.project, dispatch.job) == key for dispatch in batch)

    def _arrive(self, leader: Leader) -> None:
        """A batch comes to the broker, which knows whose fence is the newest."""
        leader.stored = leader.fence == self.fence
        if not leader.stored:
            return
        self.record = (leader.levels, self.now)
        for dispatch in leader.batch or []:
            key = (dispatch.project, dispatch.job)
            fact = self.first[key]
            assert not leader.knew[key], f"{key} was dispatched after its cancel had been acknowledged"
            number = dispatch.attempt
            fresh = number > self.newest.get(key, 0) or (key, number) in self.lost
            assert fresh, f"{key} attempt {number} twice"
            assert key not in self.work, f"{key} attempt {number} while an earlier one is under way"
            assert fact.not_before is None or leader.granted >= fact.not_before, f"{key} too early"
            assert fact.deadline is None or leader.granted < fact.deadline, f"{key} too late"
            self.newest[key] = number
            attempt = Attempt(dispatch, leader.granted, self.now)
            self.work[key] = attempt
            self.attempts.append(attempt)

    def _report(self, key: Key, fact: AttemptEnded) -> None:
        """An outcome, where none of a newer attempt lies: a zombie's must not hide what came of its successor."""
        standing = self.out.get(key)
        if standing is None or standing.attempt <= fact.attempt:
            self.out[key] = fact

    def _write(self, key: Key, settled: Settled) -> None:
        """A terminal record, if there is none."""
        self.res.setdefault(key, settled)

    def _read(self) -> None:
        """The leader's tails, in the order in which things were stored; then it removes what is settled."""
        board, read = self.leader.board, self.leader.read
        for key, asked in self.ctl.items():
            self._once(("ctl", key, asked.token), asked)
        for key, fact in self.submit.items():
            self._once(("submit", key), fact)
        for key, outcome in self.out.items():
            self._once(("out", key, outcome.attempt, outcome.failure.kind), outcome)
        for key, settled in self.res.items():
            if ("res", key) not in read:
                read.add(("res", key))
                board.apply(settled, self.now)
                self.submit.pop(key, None)
                self.out.pop(key, None)

    def _once(self, mark: object, fact: Any) -> None:
        if mark not in self.leader.read:
            self.leader.read.add(mark)
            self.leader.board.apply(fact, self.now)

    def _lead(self) -> Leader:
        """Begin a term from what lies in the streams, as recovery does."""
        leader = Leader(Board(self.laws, now=self.now), self.fence)
        board, read = leader.board, leader.read
        for pool in ("a", "b"):
            board.apply(PoolSeen(pool, 6), self.now)
        if self.record is not None or self.attempts:
            levels, at = self.record or ({}, self.now)
            board.restore(levels, self.now - at, self.now)
        for key, asked in self.ctl.items():
            read.add(("ctl", key, asked.token))
            board.apply(asked, self.now)
        for key in self.res:
            read.add(("res", key))
            self.submit.pop(key, None)
            self.out.pop(key, None)
        for key, fact in self.submit.items():
            read.add(("submit", key))
            board.apply(fact, self.now)
        for key in [key for key in self.work if key not in self.submit]:
            del self.work[key]
        for attempt in self.work.values():
            board.apply(made.in_flight(attempt.dispatch), self.now)
        self._replay(leader, list(self.out.items()))
        return leader

    def _replay(self, leader: Leader, outcomes: Sequence[tuple[Key, AttemptEnded]]) -> None:
        for key, outcome in outcomes:
            leader.read.add(("out", key, outcome.attempt, outcome.failure.kind))
            flight = self.work.get(key)
            if flight is not None and flight.dispatch.attempt > outcome.attempt:
                continue
            if flight is None:
                past = next(
                    e.dispatch.history
                    for e in self.attempts
                    if (e.dispatch.project, e.dispatch.job, e.dispatch.attempt) == (*key, outcome.attempt)
                )
                found = InFlight(*key, outcome.attempt, outcome.deployment, 0, 0, past)
                leader.board.apply(found, self.now)
            leader.board.apply(outcome, self.now)
