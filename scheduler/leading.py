"""One period: stands by, takes over with what it has read, leads until the lease is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from job_contracts import subjects
from job_contracts.money import picodollars
from runtime.telemetry import INFO
from scheduler.census import Census
from scheduler.desk import Desk
from scheduler.dispatcher import Dispatcher
from scheduler.endings import Endings
from scheduler.intake import Intake
from scheduler.leadership import Verdict
from scheduler.letter_index import LetterIndex
from scheduler.lifeline import Lifeline
from scheduler.operator_desk import OperatorDesk
from scheduler.orders import Standings
from scheduler.outcomes import Outcomes
from scheduler.policy.facts import InFlight
from scheduler.reconciler import Reconciler
from scheduler.recovery import CATCH_UP, NotRecovered, behind_barrier, work_in_flight
from scheduler.refilling import Refilling
from scheduler.scaling import Scaling
from scheduler.settling import Settling
from scheduler.spending import Spending
from scheduler.standby import Standby
from scheduler.storage import Storage
from scheduler.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.bus.port import Subscription, Tail
    from scheduler.leadership import Predecessor
    from scheduler.recovery import Remnant
    from scheduler.term import Term


class Leading:
    """Runs one term. Until ``run`` it stands by; that returns when the lease is lost or ``stopping`` is set.

    ``close`` ends what was begun, at any time.
    """

    def __init__(self, term: Term, version: str) -> None:
        self._term = term
        self.lifeline = Lifeline(term)
        self.spending = Spending(term)
        self.trials = Trials(term, term.wanted)
        self.orders = Standings(term)
        self._endings = Endings(term)
        self._intake = Intake(term, self._endings)
        self._settling = Settling(term, self.lifeline)
        self._endings.on_existing = self._settling.on_result
        self._refilling = Refilling(term, self._intake.on_unread)
        self._outcomes = Outcomes(term, self.lifeline, self._endings, self._refilling)
        self._reconciler = Reconciler(
            term,
            self.lifeline,
            self._endings,
            self._settling,
            self._outcomes,
            on_submission=self._intake.on_message,
        )
        self._index = LetterIndex(term)
        self._desk = Desk(term, version, self.trials, OperatorDesk(term, self.orders, self.lifeline), self._index)
        self.standby = Standby(
            term,
            self.lifeline,
            on_submission=self._intake.on_message,
            on_result=self._settling.on_result,
            on_removed=self._intake.forget,
            on_open=self._read_along,
        )
        self._open: list[Tail | Subscription] = []
        self.recovered = False

    async def run(self, predecessor: Predecessor, stopping: asyncio.Event) -> None:
        """Lead. Raises BusError when the streams cannot be read; the term is over then."""
        term = self._term
        record = predecessor.record
        if record is not None:  # else nothing was ever granted, and the buckets are full
            term.board.restore(record.levels, predecessor.silence, term.clock.monotonic())
        term.lease.state = lambda: (
            term.board.levels(term.clock.monotonic()),
            term.submissions.settled_cursor(),
        )
        cancels = await self._recover_holding_the_lease()
        if cancels is None:
            return
        dispatcher = Dispatcher(term, self._endings, self.lifeline, cancels)
        await self._desk.start()
        self.recovered = True
        jobs = len(term.submissions.entries)
        term.telemetry.emit("term.began", INFO, epoch=term.lease.epoch, jobs=jobs, in_flight=len(self.lifeline.flights))
        duties = [
            asyncio.create_task(dispatcher.run(), name="dispatcher"),
            asyncio.create_task(self._settling.sweep(), name="settling"),
            asyncio.create_task(self.lifeline.watch(), name="lifeline"),
            asyncio.create_task(self._reconciler.run(), name="reconciler"),
            asyncio.create_task(Census(term, self.lifeline).run(), name="census"),
            asyncio.create_task(Scaling(term, self.lifeline).run(), name="scaling"),
            asyncio.create_task(Storage(term).run(), name="storage"),
            asyncio.create_task(self._refilling.run(), name="refilling"),
            asyncio.create_task(self.spending.run(), name="spending"),
            asyncio.create_task(self.trials.run(), name="trials"),
            asyncio.create_task(self.orders.run(), name="orders"),
            asyncio.create_task(self._index.run(), name="letters"),
        ]
        asked = asyncio.create_task(stopping.wait(), name="stopping")
        try:
            done, _ = await asyncio.wait({*duties, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked in done:
                dispatcher.stop()
                await duties[0]
            for task in done - {asked}:
                task.result()
        finally:
            await _end({*duties, asked})

    def unread(self, project: str) -> int:
        """About how many of a project's jobs are queued beyond the index."""
        return self._term.overflow.count(project)

    async def _read_along(self) -> None:
        """What a standby reads beside the queue. What was spent comes last: without it whoever takes over can do all
        that costs no budget.
        """
        await self.orders.open()
        await self.spending.open()

    async def close(self) -> None:
        """Stop reading, answering and writing; safe at any time."""
        await self._desk.stop()
        while self._open:
            await self._open.pop().close()
        await self.standby.close()
        await self.spending.close()
        await self.trials.close()
        await self.orders.close()
        await self._endings.stop()
        await self._term.followups.stop()
        await self._term.figures.close()
        await self._term.background.stop()

    async def _recover_holding_the_lease(self) -> Tail | None:
        """Recover while renewing: a long replay must not cost the lease. ``None`` when it was lost all the same."""
        recovered = asyncio.Event()
        keeper = asyncio.create_task(self._keep_lease(recovered), name="lease keeper")
        recovery = asyncio.create_task(self._recover(), name="recovery")
        try:
            await asyncio.wait({keeper, recovery}, return_when=asyncio.FIRST_COMPLETED)
            if not recovery.done():
                keeper.result()
                return None
            recovered.set()
            await keeper
            return recovery.result()
        finally:
            recovered.set()
            await _end({recovery})
            await asyncio.wait({keeper})

    async def _keep_lease(self, recovered: asyncio.Event) -> None:
        """Renew until recovered; returns early only when the lease is lost. Never cancelled within a write."""
        while not recovered.is_set():
            try:
                async with asyncio.timeout(self._term.config.scheduler.renew):
                    await recovered.wait()
            except TimeoutError:
                if (await self._term.lease.write()).verdict is Verdict.LOST:
                    return

    async def _recover(self) -> Tail:
        """WORK first, because an assignment leaves it only after its result exists; then what else was stored by now.

        LEDGER is read to its mark after that (``spending``), and waited for by those alone for whom a hard budget pays.
        Cancels come last: the jobs they mean are known then, and need no remembering.
        """
        term, bus = self._term, self._term.bus
        remnants = await work_in_flight(term)
        await self.trials.begin()
        await self.orders.begin()
        results, submissions = await self.standby.opened()
        outcomes = await bus.tail(term.stream(subjects.OUT), self._outcomes.on_outcome)
        self._open.append(outcomes)
        await behind_barrier(term, subjects.RES, results)
        await behind_barrier(term, subjects.OUT, outcomes)
        await self._read_submissions(submissions)
        term.telemetry.emit("recovery.submissions_read")
        term.submissions.all_read()
        await self._intake.take_over()
        under_way = [(remnant.assignment.project, remnant.assignment.job_id) for remnant in remnants]
        await self._refilling.pull_in([*under_way, *self._outcomes.waiting])
        await self._restore_flights(remnants)
        cancels = await bus.tail(subjects.CTL, self._outcomes.on_cancel)
        self._open.append(cancels)
        await behind_barrier(term, subjects.CTL, cancels)
        self._outcomes.replay()
        term.followups.take_over()
        beats = await bus.respond(subjects.heartbeat("*", "*"), self.lifeline.on_heartbeat)
        self._open.append(beats)
        await self.standby.answered()
        return cancels

    async def _read_submissions(self, headers: Tail) -> None:
        """The rest of what is queued as the standby read it, by headers; from then on everything that comes, whole."""
        term = self._term
        stream = term.stream(subjects.SUBMIT)
        state = await term.bus.stream_state(stream)
        if not await headers.caught_up(state.last_seq, timeout=CATCH_UP):
            message = f"{stream} could not be read up to sequence {state.last_seq} in {CATCH_UP:g} s"
            raise NotRecovered(message)
        await headers.close()
        term.overflow.recount(max(0, state.messages - term.submissions.stored))
        term.leads = True
        position = max(headers.position, state.last_seq)
        self._open.append(await term.bus.tail(stream, self._intake.on_message, start=position + 1))

    async def _restore_flights(self, remnants: list[Remnant]) -> None:
        term = self._term
        for remnant in remnants:
            order = remnant.assignment
            in_flight = InFlight(
                project=order.project,
                job=order.job_id,
                attempt=order.attempt,
                deployment=order.deployment,
                input_tokens=order.grant.input_tokens,
                output_tokens=order.grant.output_tokens,
                history=order.history,
                cost=None if order.grant.cost is None else picodollars(order.grant.cost),
                charged=order.grant.charged,
                route=order.route,
                key=order.key,
                tags=order.tagged,
                trial=order.trial,
                hedge=order.hedge,
                draft=order.draft,
            )
            term.board.apply(in_flight, term.clock.monotonic())  # of a remnant only its money counts
            if remnant.superseded or (order.project, order.job_id) not in term.submissions.entries:
                continue  # the reconciler removes it, when its cost is told
            attempt = (order.project, order.job_id, order.attempt, order.deployment)
            self.lifeline.dispatched(*attempt, remnant.seq, hedge=order.hedge)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
