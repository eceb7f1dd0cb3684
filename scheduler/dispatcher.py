"""Decisions become durable: collects what the policy decides, checks it once more, stores it with the lease renewal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.chat import Usage
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import JobState
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import INFO, WARNING
from scheduler.assignments import assignment
from scheduler.intake import body_problem, refusal
from scheduler.leadership import UNSEEN, Verdict
from scheduler.oversize import size_of, too_large
from scheduler.policy.decisions import Abort, Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, Settled, Uncharged
from scheduler.policy.felt import Bound
from scheduler.switches import tell_switches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.bus.port import Message, Outgoing, Tail
    from scheduler.endings import Endings
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term


class Held(Enum):
    """Why a job has no body to send."""

    LATER = "could not be checked now, or is being cancelled"
    GONE = "must not run: it has ended"


LATER, GONE = Held.LATER, Held.GONE
Body = bytes | Held | None
"""``None``: the body is a blob, the worker fetches it."""

FEW = 4
"""Jobs in a batch up to which the next one does not wait for company: there is no load worth sharing a round."""
UNTRUSTED = 0.05
"""Seconds between two tries to renew a lease that is not trusted any more, say while the broker is away."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of bodies in one batch at most; the rest waits for the next one."""


class Dispatcher:
    """The leader's loop: one fenced write in flight, everything that comes meanwhile goes into the next."""

    def __init__(self, term: Term, endings: Endings, lifeline: Lifeline, cancels: Tail) -> None:
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._config = term.config
        self._settings = term.config.scheduler
        self._lease = term.lease
        self._board = term.board
        self._submissions = term.submissions
        self._bodies = term.bodies
        self._changed = term.wake
        self._endings = endings
        self._lifeline = lifeline
        self._cancels = cancels
        self._last_batch = 0.0
        self._last_size = 0
        self._stopping = False

    def stop(self) -> None:
        """End after the write that is in flight: nothing unknown is left behind."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Until the lease is lost or ``stop``; never cancel it within a write. Raises BusError only for bugs."""
        while not self._stopping:
            await self._wait()
            self._changed.clear()
            await self._lifeline.work.ensure(self._settings.batch, BATCH_BYTES)
            # Who was stopped for long decides nothing, endings least of all, before it knows that it still leads (R7).
            if not self._lease.trusted:
                if (await self._lease.write()).verdict is Verdict.LOST:
                    return
                if not self._lease.trusted:
                    await asyncio.sleep(UNTRUSTED)
                    self._changed.set()  # whatever there was to decide is still there
                    continue
            dispatches = self._decide()
            if dispatches and not await self._send(dispatches):
                return
            if self._due_for_renewal() and (await self._lease.write()).verdict is Verdict.LOST:
                return

    async def _wait(self) -> None:
        """Until there may be something to decide, the lease is due, or a timer of the policy runs out."""
        now = self._clock.monotonic()
        if self._changed.is_set():
            rest = self._last_batch + self._settings.linger - now
            if rest > 0 and self._last_size > FEW:
                await asyncio.sleep(rest)
            return
        until = self._lease.last_write + self._settings.renew
        wake = self._board.next_wake(now)
        if wake is not None:
            until = min(until, wake)
        try:
            async with asyncio.timeout(max(until - now, 0.0005)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _due_for_renewal(self) -> bool:
        return self._clock.monotonic() - self._lease.last_write >= self._settings.renew

    def _decide(self) -> list[Dispatch]:
        work = self._lifeline.work
        room = min(work.messages, self._settings.batch) if work.bytes > BATCH_BYTES else 0
        work.hold(held=not room)
        dispatches: list[Dispatch] = []
        for decision in self._board.decide(self._clock.monotonic(), room):
            match decision:
                case Dispatch():
                    dispatches.append(decision)
                case Finish():
                    self._endings.write(self._in_wall_time(decision))
                case Abort():
                    attempt = (decision.project, decision.job, decision.attempt, decision.deployment)
                    self._lifeline.abort(*attempt, outrun=decision.outrun)
        for felt in self._board.felt():
            event = "limit.bound" if isinstance(felt, Bound) else "limit.waited"
            self._term.telemetry.emit(event, **felt._asdict())
        if len(dispatches) >= self._settings.batch:
            self._changed.set()
        return dispatches

    def _in_wall_time(self, finish: Finish) -> Finish:
        entry = self._submissions.entries.get((finish.project, finish.job))
        if entry is None:
            return finish
        return replace(finish, submitted=entry.submitted)

    async def _send(self, dispatches: Sequence[Dispatch]) -> bool:
        """Store one batch; False when the term is over."""
        self._last_batch, self._last_size = self._clock.monotonic(), len(dispatches)
        self._board.sent(dispatches, self._last_batch)
        checked = await self._checked(dispatches)
        if checked is None:
            return False
        ready: list[Dispatch] = []
        messages: list[Outgoing] = []
        held: list[Dispatch] = []
        size = 0
        for dispatch, body in checked:
            entry = self._submissions.entries.get((dispatch.project, dispatch.job))
            size += len(body) if isinstance(body, bytes) else 0
            if entry is None or body is LATER or (size > BATCH_BYTES and ready):
                held.append(dispatch)
                continue
            sent = body if isinstance(body, bytes) else None
            order = assignment(
                dispatch,
                entry,
                sent,
                self._config,
                shard=self._settings.shard,
                epoch=self._lease.epoch,
                wall=self._clock.wall(),
            )
            if self._fits(dispatch, order, sent):
                ready.append(dispatch)
                messages.append(order)
        if held:
            self._refused(held)
        return not messages or await self._store(ready, messages)

    def _fits(self, dispatch: Dispatch, order: Outgoing, body: bytes | None) -> bool:
        """Whether it can be stored at all, and what will tell of its end; a job whose order cannot ends here."""
        size, most = size_of(order, body, tried=bool(dispatch.history)), self._bus.max_payload
        if size <= most:
            return True
        self._term.telemetry.emit("dispatch.too_large", WARNING, job_id=dispatch.job, bytes=size)
        self._board.apply(too_large(dispatch, size, most), self._clock.monotonic())
        self._uncharged(dispatch)
        self._changed.set()
        return False

    async def _store(self, ready: Sequence[Dispatch], messages: Sequence[Outgoing]) -> bool:
        for dispatch in ready:
            attempt = (dispatch.project, dispatch.job, dispatch.attempt, dispatch.deployment)
            self._lifeline.dispatched(*attempt, hedge=dispatch.hedge)
        self._term.telemetry.emit("dispatch.decided", jobs=len(ready))
        self._lifeline.work.stored(len(messages), sum(len(message.data) for message in messages))
        written = await self._lease.write(messages)
        if written.verdict is Verdict.LOST:
            return False
        stored: list[Dispatch] = []
        refused: list[Dispatch] = []
        for dispatch, seq in zip(ready, written.seqs, strict=True):
            if seq > UNSEEN or (seq == UNSEEN and await self._was_answered(dispatch)):
                stored.append(dispatch)
                self._lifeline.stored(dispatch.project, dispatch.job, dispatch.attempt, seq)
                self._bodies.drop(dispatch.seq)
            else:
                self._lifeline.ended(dispatch.project, dispatch.job, dispatch.attempt)
                refused.append(dispatch)
        now = self._clock.monotonic()
        self._board.stored(stored, now)
        self._term.telemetry.emit("dispatch.stored", jobs=len(stored), seconds=now - self._last_batch)
        tell_switches(self._term.telemetry, stored, self._clock.wall())
        hedges = sum(dispatch.hedge for dispatch in stored)
        if hedges:
            self._term.telemetry.emit("hedge.stored", jobs=hedges)
        if refused:
            verdict = written.verdict.value
            self._term.telemetry.emit("dispatch.not_stored", WARNING, verdict=verdict, jobs=len(refused))
            self._refused(refused)
            await asyncio.sleep(0.05)
        return True

    async def _was_answered(self, dispatch: Dispatch) -> bool:
        """Whether a worker has ended an attempt that WORK no longer shows: it answers before it acknowledges."""
        while True:
            try:
                if await self._stored(subjects.RES, subjects.result(dispatch.project, dispatch.job)) is not None:
                    return True
                shard, hedge = self._settings.shard, dispatch.hedge
                subject = subjects.outcome(shard, dispatch.project, dispatch.job, hedge=hedge)
                outcome = await self._stored(self._term.stream(subjects.OUT), subject)
                return outcome is not None and decode(Outcome, outcome.data).record.number >= dispatch.attempt
            except BusError:
                await asyncio.sleep(0.05)

    async def _stored(self, stream: str, subject: str) -> Message | None:
        try:
            return await self._bus.last(stream, subject)
        except NotFound:
            return None

    async def _checked(self, dispatches: Sequence[Dispatch]) -> list[tuple[Dispatch, Body]] | None:
        """Each job that may go, with its body; ``None`` if the term is over.

        The cancels are asked for last: nothing that can take long comes between them and the dispatch.
        """
        missing = [dispatch for dispatch in dispatches if self._needs_reading(dispatch)]
        levels, bodies = await asyncio.gather(
            self._lease.store_levels(), self._read_all(missing), return_exceptions=True
        )
        if levels is Verdict.LOST:
            return None
        try:
            if isinstance(bodies, BaseException):
                raise bodies
            if levels is not Verdict.STORED:
                message = f"the levels could not be stored ({levels})"
                raise BusError(message)
            await self._heard_all_cancels()
        except BusError as error:
            self._term.telemetry.emit("dispatch.delayed", INFO, error=type(error).__name__, jobs=len(dispatches))
            await asyncio.sleep(0.05)
            return [(dispatch, LATER) for dispatch in dispatches]
        # By project as well: two of them may use the same idempotency key, and so the same job id.
        read = {(dispatch.project, dispatch.job): body for dispatch, body in zip(missing, bodies, strict=True)}
        found: list[tuple[Dispatch, Body]] = []
        for dispatch in dispatches:
            if self._board.cancelling(dispatch.project, dispatch.job):
                found.append((dispatch, LATER))
                continue
            key = (dispatch.project, dispatch.job)
            body = read[key] if key in read else self._bodies.at_hand(dispatch.seq)
            if body is GONE:
                self._uncharged(dispatch)
            else:
                found.append((dispatch, body))
        return found

    def _refused(self, dispatches: Sequence[Dispatch]) -> None:
        """These are not in the broker and never will be."""
        self._board.refused(dispatches, self._clock.monotonic())
        for dispatch in dispatches:
            if (dispatch.project, dispatch.job) not in self._submissions.entries:
                self._uncharged(dispatch)  # it has ended meanwhile: the policy knows it no more
        self._changed.set()

    def _uncharged(self, dispatch: Dispatch) -> None:
        """Nothing will ever be told of this attempt: what was reserved for it goes."""
        never = Uncharged(dispatch.project, dispatch.job, dispatch.attempt)
        self._board.apply(never, self._clock.monotonic())

    def _needs_reading(self, dispatch: Dispatch) -> bool:
        entry = self._submissions.entries.get((dispatch.project, dispatch.job))
        if entry is None:
            return False
        return entry.unsure or (entry.blob is None and self._bodies.at_hand(dispatch.seq) is None)

    async def _read_all(self, missing: Sequence[Dispatch]) -> list[Body]:
        await self._bodies.read_ahead(d.seq for d in missing)
        ended = await self._ended(missing)
        return await asyncio.gather(*(self._read(d, ended) for d in missing))

    async def _ended(self, dispatches: Sequence[Dispatch]) -> Mapping[int, Message | None]:
        """The record of each submission whose job may have ended long ago, or ``None``. Raises BusError."""
        entries = ((d, self._submissions.entries.get((d.project, d.job))) for d in dispatches)
        asked = {
            entry.seq: subjects.result(d.project, d.job) for d, entry in entries if entry is not None and entry.unsure
        }
        found = await self._bus.last_each(subjects.RES, list(asked.values())) if asked else {}
        return {seq: found.get(subject) for seq, subject in asked.items()}

    async def _read(self, dispatch: Dispatch, ended: Mapping[int, Message | None]) -> Body:
        """The body of one job, or ``GONE`` when it turns out that it must not run. Raises BusError."""
        entry = self._submissions.entries.get((dispatch.project, dispatch.job))
        if entry is None:
            return GONE  # its result came while others were read
        if entry.unsure:
            if entry.seq not in ended:
                return LATER  # another submission since then
            record = ended[entry.seq]
            if record is not None:
                self._show_again(dispatch, record)
                return GONE
            entry.unsure = False
        if entry.blob is not None:
            return None
        body = self._bodies.at_hand(dispatch.seq)
        if body is not None:
            return body
        try:
            body = await self._bodies.read(dispatch.seq)
        except NotFound:
            return LATER
        problem = (
            ContractError("the submission is no longer there") if body is None else body_problem(body, dispatch.job)
        )
        if problem is not None:
            self._invalid(dispatch, problem)
            return GONE
        return body

    def _show_again(self, dispatch: Dispatch, record: Message) -> None:
        """The job ended long ago: its record is shown again instead of running it a second time."""
        now = self._clock.monotonic()
        entry = self._submissions.settle((dispatch.project, dispatch.job), record.seq, now)
        if entry is not None:
            self._bodies.drop(entry.seq)  # its result was read before: nothing else will
            if entry.followed:
                self._term.followups.settled((dispatch.project, dispatch.job), entry)
        settled = Settled(
            project=dispatch.project,
            job=dispatch.job,
            state=JobState.SUCCEEDED,
            attempt=dispatch.attempt,
            deployment=None,
            usage=Usage(),
        )
        self._board.apply(settled, now)
        self._term.republish(dispatch.project, dispatch.job)

    def _invalid(self, dispatch: Dispatch, problem: ContractError) -> None:
        ended = AttemptEnded(
            project=dispatch.project,
            job=dispatch.job,
            attempt=dispatch.attempt,
            deployment=dispatch.deployment,
            failure=refusal(problem),
            record=None,
            called=False,
        )
        self._board.apply(ended, self._clock.monotonic())
        self._changed.set()

    async def _heard_all_cancels(self) -> None:
        """A cancel that was acknowledged before this batch must be known here before it is stored (I5)."""
        state = await self._bus.stream_state(subjects.CTL)
        if state.last_seq > self._cancels.position and not await self._cancels.caught_up(state.last_seq, timeout=5.0):
            message = "the cancels stream is ahead of what was read"
            raise BusError(message)
