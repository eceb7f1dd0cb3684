"""What lost messages left behind: compares the streams with what the leader knows, repairs it, and counts each repair.

A healthy run has nothing to repair, however busy it is, so whatever may be explained by two things that happen at the
same moment must be found again ``PATIENCE`` seconds later. Each look asks the streams for their counts first; what
cannot be decided by counting is looked at piece by piece, ``WINDOW`` messages a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import ContractError, decode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import INFO, WARNING
from scheduler.costs import Costs
from scheduler.policy.decisions import Finish
from scheduler.policy.facts import Uncharged
from scheduler.readings import PATIENCE, Reading

if TYPE_CHECKING:
    from collections.abc import Collection

    from runtime.bus.port import Handler, Message
    from scheduler.endings import Endings
    from scheduler.lifeline import Lifeline
    from scheduler.outcomes import Outcomes
    from scheduler.settling import Settling
    from scheduler.submissions import JobKey
    from scheduler.term import Term

WINDOW = 2_000
"""Submissions, or outcomes, looked at in one round at most."""
READ_WITHIN = 10.0
"""Seconds in which a window must be read."""

T = TypeVar("T")


class Suspects:
    """What looked wrong, and since when; certain is what has looked so for ``PATIENCE`` seconds, at every look."""

    def __init__(self) -> None:
        self._since: dict[object, float] = {}

    def certain(self, found: Collection[T], now: float) -> list[T]:
        """Of what was found now, what is no coincidence."""
        self._since = {one: self._since.get(one, now) for one in found}
        return [one for one in found if now - self._since[one] >= PATIENCE]


class Reconciler:
    """Looks every ``reconcile_every`` seconds."""

    def __init__(
        self,
        term: Term,
        lifeline: Lifeline,
        endings: Endings,
        settling: Settling,
        outcomes: Outcomes,
        *,
        on_submission: Handler,
    ) -> None:
        self._term = term
        self._bus = term.bus
        self._lifeline = lifeline
        self._endings = endings
        self._settling = settling
        submitted = f"{subjects.PREFIX}.q.{term.shard}.>"
        gaps = term.submissions.gaps
        self._readings = (
            Reading("unread_submission", term.stream(subjects.SUBMIT), submitted, gaps, on_submission),
            settling.reading,
            *outcomes.readings,
        )
        self._on_submission = on_submission
        self._costs = Costs(term)
        self._work, self._submit, self._out = (
            term.stream(name) for name in (subjects.WORK, subjects.SUBMIT, subjects.OUT)
        )
        self._remnants, self._unknown, self._gone, self._left = Suspects(), Suspects(), Suspects(), Suspects()
        self._next_submission = self._next_outcome = 1

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._term.config.scheduler.reconcile_every)
            for look in (self._read_again, self.look_at_work, self.look_at_submissions, self.look_at_outcomes):
                if not self._term.lease.trusted:
                    break
                try:
                    await look()
                except BusError as error:
                    self._term.telemetry.emit("reconciler.look_failed", INFO, error=type(error).__name__)

    def _repaired(self, kind: str, **what: object) -> None:
        self._term.telemetry.emit("reconciler.repaired", WARNING, kind=kind, **what)

    # -- what a tail has passed over

    async def _read_again(self) -> None:
        for reading in self._readings:
            for _ in range(await reading.look(self._bus, self._term.clock.monotonic())):
                self._repaired(reading.kind)

    # -- WORK: the lease and what is in flight

    async def look_at_work(self) -> None:
        """Assignments nothing waits for; what is in flight and not there is found by the lifeline."""
        state = await self._bus.stream_state(self._work)
        found: dict[int, Message] = {}
        if state.messages - 1 > len(self._lifeline.flights) + len(self._lifeline.hedges):
            found = {message.seq: message for message in await self._superfluous(state.last_seq)}
        for seq in self._remnants.certain(found, self._term.clock.monotonic()):
            flights = (*self._lifeline.flights.values(), *self._lifeline.hedges.values())
            if all(flight.seq != seq for flight in flights):
                await self._remove_remnant(found[seq])

    async def _superfluous(self, last: int) -> list[Message]:
        """What lies in WORK up to ``last`` and is not in flight; asks only where there is more than there should be."""
        flights = self._lifeline.flights
        listed = await self._bus.stream_state(self._work, subjects=f"{subjects.PREFIX}.work.{self._term.shard}.>")
        found: list[Message] = []
        for subject, count in (listed.subjects or {}).items():
            key, pool = subjects.project_and_job(subject), subject.split(".")[3]
            flight, hedge = flights.get(key), self._lifeline.hedges.get(key)
            if hedge is not None and hedge.deployment.partition("/")[0] == pool:
                flight = hedge
            if count == 1 and flight is not None and pool == flight.deployment.partition("/")[0]:
                continue
            seq = 1
            while (stored := await self._next(self._work, seq, subject)) is not None and stored.seq <= last:
                seq = stored.seq + 1
                if flight is None or flight.seq != stored.seq:
                    found.append(stored)
            if len(found) >= WINDOW:
                break
        return found

    async def _remove_remnant(self, message: Message) -> None:
        """Its worker may have been killed before it told the cost: the leader tells it first."""
        try:
            order = decode(Assignment, message.data)
        except ContractError:
            order = None
        if order is not None and await self._stopped(order):
            self._repaired("needless_call", seq=message.seq)
            return  # its worker tells what it has cost, and removes it
        told = True
        if order is not None:
            try:
                delivered = message.seq <= await self._lifeline.delivered(order.provider)
            except NotFound:
                delivered = True  # its pool is no longer configured: nobody can say
            told = await self._costs.close(order, delivered=delivered)
        if await self._bus.delete(self._work, message.seq):
            self._repaired("remnant", seq=message.seq)
        if order is not None and not told:
            never = Uncharged(order.project, order.job_id, order.attempt)
            self._term.board.apply(never, self._term.clock.monotonic())
            self._term.wake.set()

    async def _stopped(self, order: Assignment) -> bool:
        """Stop an attempt that a worker still makes though another one has ended the job: that came while nobody led,
        or whoever led then died before the worker heard of it. False if there is nothing to stop.
        """
        if not self._lifeline.held(order.attempt_id):
            return False
        try:
            found = await self._bus.last(subjects.RES, subjects.result(order.project, order.job_id))
            end = decode(Settlement, (found.headers or {}).get(subjects.H_SETTLEMENT, ""))
        except (NotFound, ContractError):
            return False
        if end.token != order.token or end.attempt == order.attempt:
            return False
        outrun = end.state is JobState.SUCCEEDED and (order.hedge or order.late_after is not None)
        self._lifeline.abort(order.project, order.job_id, order.attempt, order.deployment, outrun=outrun)
        return True

    # -- SUBMIT: what is not finished, and what waits to be removed

    async def look_at_submissions(self) -> None:
        """Submissions the index does not know, and entries whose submissions are gone."""
        submissions = self._term.submissions
        state = await self._bus.stream_state(self._submit)
        unknown: dict[int, Message] = {}
        gone: set[int] = set()
        if state.messages != submissions.stored + self._term.overflow.total:
            unknown, gone = await self._compare(state.first_seq)
        now = self._term.clock.monotonic()
        for seq in self._unknown.certain(unknown, now):
            await self._take_in(seq)
        missing = set(self._gone.certain(gone, now))
        for seq, key in submissions.unfinished(missing).items():
            await self._end_without_submission(seq, key)

    async def _compare(self, first: int) -> tuple[dict[int, Message], set[int]]:
        """One window of the stream, against the same window of the index."""
        submissions = self._term.submissions
        start = max(first, self._next_submission)
        top = submissions.gaps.top
        if start > top:
            start = first
        end = min(start + WINDOW - 1, top)
        before = set(submissions.between(start, end))
        seen: dict[int, Message] = {}

        def note(message: Message) -> None:
            seen[message.seq] = message

        tail = await self._bus.tail(self._submit, note, start=start, headers_only=True)
        try:
            if not await tail.caught_up(end, timeout=READ_WITHIN):
                return {}, set()
        finally:
            await tail.close()
        after = set(submissions.between(start, end))
        known = before | after
        unknown = {
            seq: message
            for seq, message in seen.items()
            if start <= seq <= end and seq not in known and not self._unread(message)
        }
        gone = {seq for seq in before & after if seq not in seen}
        if not unknown and not gone:  # else this window is looked at again
            self._next_submission = end + 1
        return unknown, gone

    def _unread(self, message: Message) -> bool:
        """Whether it is left in its stream because the index is full."""
        try:
            project, _ = subjects.project_and_job(message.subject)
        except ValueError:
            return False
        return self._term.overflow.holds(project, message.seq)

    async def _take_in(self, seq: int) -> None:
        """Read a submission as if it came now; one whose job has its result goes, and the result is shown again."""
        try:
            message = await self._bus.get(self._submit, seq)
            project, job = subjects.project_and_job(message.subject)
        except (NotFound, ValueError):
            return
        try:
            await self._bus.last(subjects.RES, subjects.result(project, job))
        except NotFound:
            self._on_submission(message)
            self._repaired("unread_submission", seq=seq)
        else:
            await self._bus.delete(self._submit, seq)
            self._term.republish(project, job)
            self._repaired("left_submission", seq=seq)

    async def _end_without_submission(self, seq: int, key: JobKey) -> None:
        """The job could not be found by another leader: it ends, and its producer hears why."""
        entry = self._term.submissions.entries.get(key)
        if entry is None or entry.seq != seq or key in self._lifeline.flights or not await self._is_absent(seq):
            return  # what is in flight may yet bring its result
        status = self._term.board.status(*key, self._term.clock.monotonic())
        words = "its submission is no longer stored"
        self._endings.write(
            Finish(
                project=key[0],
                job=key[1],
                seq=seq,
                state=JobState.FAILED,
                failure=Failure(kind=FailureKind.INTERNAL, message=words, remedy="submit it again"),
                history=self._term.board.history(*key),
                route="" if status is None else status.route,
                token=entry.token,
                body_hash=entry.body_hash,
                submitted=entry.submitted,
            )
        )
        self._repaired("lost_submission", project=key[0], job_id=key[1])

    async def _is_absent(self, seq: int) -> bool:
        """Whether it is not there, said by a node that is newer than it (R4)."""
        try:
            await self._bus.get(self._submit, seq)
        except NotFound:
            return (await self._bus.stream_state(self._submit)).last_seq >= seq
        return False

    # -- OUT: the outcomes of jobs that are not finished

    async def look_at_outcomes(self) -> None:
        """Outcomes of jobs that have ended, or that nobody knows; a window a look."""
        state = await self._bus.stream_state(self._out)
        subject = f"{subjects.PREFIX}.out.{self._term.shard}.>"
        found: set[int] = set()
        start = seq = max(self._next_outcome, state.first_seq)
        for _ in range(min(WINDOW, state.messages)):
            stored = await self._next(self._out, seq, subject)
            if stored is None or stored.seq > state.last_seq:
                seq = 1
                break
            seq = stored.seq + 1
            if subjects.project_and_job(stored.subject) not in self._term.submissions.entries:
                found.add(stored.seq)
        found -= set(self._settling.leaving)
        self._next_outcome = start if found else seq  # what looks wrong is looked at again
        for one in self._left.certain(found, self._term.clock.monotonic()):
            if await self._bus.delete(self._out, one):
                self._repaired("left_outcome", seq=one)

    async def _next(self, stream: str, seq: int, subject: str) -> Message | None:
        try:
            return await self._bus.next(stream, seq, subject)
        except NotFound:
            return None
