"""Failed attempts and cancels become facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import Cancel
from runtime.bus.port import NotFound
from runtime.telemetry import WARNING
from scheduler.mishaps import Mishaps
from scheduler.policy.facts import AttemptEnded, CancelAsked, InFlight, LimitsRead, Uncharged
from scheduler.readings import Gaps, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.bus.port import Message
    from scheduler.endings import Endings
    from scheduler.entries import Entry, JobKey
    from scheduler.lifeline import Lifeline
    from scheduler.refilling import Refilling
    from scheduler.term import Term


class Outcomes:
    """Reads OUT and CTL; during recovery outcomes are kept until their submissions have been read."""

    def __init__(self, term: Term, lifeline: Lifeline, endings: Endings, refilling: Refilling) -> None:
        self._term = term
        self._out = term.stream(subjects.OUT)
        self._clock = term.clock
        self._board = term.board
        self._submissions = term.submissions
        self._lifeline = lifeline
        self._endings = endings
        self._refilling = refilling
        self._mishaps = Mishaps(term, endings)
        self._early: list[tuple[int, Outcome]] | None = []
        self._outcomes, self._cancels = Gaps(), Gaps()
        prefix, out = subjects.PREFIX, self._out
        self.readings = (
            Reading("unread_outcome", out, f"{prefix}.out.{term.shard}.>", self._outcomes, self.on_outcome),
            Reading("unread_cancel", subjects.CTL, f"{subjects.PUBLIC}.cancel.>", self._cancels, self.on_cancel),
        )
        """OUT and CTL, for whoever looks after what was passed over."""
        lifeline.losses.on_outcome = self.on_outcome

    def on_outcome(self, message: Message) -> None:
        """How an attempt ended."""
        self._outcomes.read(message.seq)
        if message.subject.startswith(f"{subjects.PREFIX}.out_barrier."):
            return
        try:
            outcome = decode(Outcome, message.data)
        except ContractError as error:
            self._set_aside(message, self._out, error)
            return
        if self._early is not None:
            self._early.append((message.seq, outcome))
        else:
            self._act(message.seq, outcome, self._apply)

    @property
    def waiting(self) -> list[JobKey]:
        """The jobs of the outcomes that ``replay`` will apply."""
        return [(outcome.project, outcome.job_id) for _, outcome in self._early or ()]

    def replay(self) -> None:
        """All submissions are known: apply the outcomes that came before, each after the attempt it belongs to."""
        early, self._early = self._early or [], None
        for seq, outcome in early:
            self._act(seq, outcome, self._replay)
        for reading in (self._outcomes, self._cancels):
            reading.begin()

    def _act(self, seq: int, outcome: Outcome, how: Callable[[int, Outcome], None]) -> None:
        """A bug must not leave the job waiting for an outcome that was read already: it ends with that failure."""
        try:
            how(seq, outcome)
        except Exception as error:  # noqa: BLE001 - see above
            history = (*outcome.history, outcome.record)
            self._mishaps.give_up("outcome", outcome.project, outcome.job_id, error, history=history)

    def _replay(self, seq: int, outcome: Outcome) -> None:
        entry = self._submissions.entries.get((outcome.project, outcome.job_id))
        if entry is None:
            self._remove(seq, outcome)
        elif not self._superseded(outcome):
            if not outcome.hedge or (outcome.project, outcome.job_id) not in self._lifeline.flights:
                self._recall(outcome)  # else it ran beside what is under way
            self._apply(seq, outcome)
        else:
            self._note(entry, seq, outcome)

    def _superseded(self, outcome: Outcome) -> bool:
        flight = self._lifeline.flights.get((outcome.project, outcome.job_id))
        return flight is not None and flight.attempt > outcome.record.number

    def _recall(self, outcome: Outcome) -> None:
        """Let the policy know of the attempt first, as if it were still under way, unless WORK has told it already.

        What WORK holds may be a remnant of an earlier attempt, that knows less of what was before.
        """
        in_flight = InFlight(
            project=outcome.project,
            job=outcome.job_id,
            attempt=outcome.record.number,
            deployment=outcome.record.deployment,
            input_tokens=0,
            output_tokens=0,
            history=outcome.history,
            route=outcome.route,
            trial=outcome.trial,
            cost=0,  # it has left WORK, so its fact is in LEDGER: only of what WORK holds money is still reserved
        )
        flight = self._lifeline.flights.get((outcome.project, outcome.job_id))
        if flight is None or flight.attempt < outcome.record.number:
            self._board.apply(in_flight, self._clock.monotonic())

    def on_cancel(self, message: Message) -> None:
        """A producer's wish to stop."""
        self._cancels.read(message.seq)
        if message.subject.startswith(f"{subjects.PREFIX}.ctl_barrier."):
            return
        try:
            project, job = subjects.project_and_job(message.subject)
            cancel = decode(Cancel, message.data)
        except (ContractError, ValueError) as error:
            self._set_aside(message, subjects.CTL, error)
            return
        self._term.telemetry.emit("cancel.read", job_id=job)
        asked = CancelAsked(project=project, job=job, token=cancel.token, reason=cancel.reason[:500])
        try:
            self._board.apply(asked, self._clock.monotonic())
        except Exception as error:  # noqa: BLE001 - a bug must not make a job run on that was to be stopped
            self._mishaps.give_up("cancel", project, job, error)
        if self._term.overflow.count(project) and (project, job) not in self._submissions.entries:
            self._term.background.start(self._refilling.pull_in_surely(project, job))  # to be ended, unread as it is
        self._term.wake.set()

    def _apply(self, seq: int, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        entry = self._submissions.entries.get((outcome.project, outcome.job_id))
        if entry is not None:
            self._note(entry, seq, outcome)
        else:
            self._remove(seq, outcome)
        self._lifeline.ended(outcome.project, outcome.job_id, outcome.record.number)
        self._term.telemetry.emit(
            "attempt.ended", deployment=outcome.record.deployment, kind=outcome.failure.kind.value
        )
        if outcome.draft is not None:
            self._term.telemetry.emit("draft.read", job_id=outcome.job_id)
        if outcome.limits:
            self._board.apply(LimitsRead(outcome.record.deployment, outcome.limits), now)
        self._board.apply(
            AttemptEnded(
                project=outcome.project,
                job=outcome.job_id,
                attempt=outcome.record.number,
                deployment=outcome.record.deployment,
                failure=outcome.failure,
                record=outcome.record,
                called=outcome.called,
                hedge=outcome.hedge,
                draft=outcome.draft,
            ),
            now,
        )
        if not outcome.called:
            # Also of a job that has ended meanwhile: no fact will come that gives back what was reserved.
            self._board.apply(Uncharged(outcome.project, outcome.job_id, outcome.record.number), now)
        self._term.wake.set()

    def _note(self, entry: Entry, seq: int, outcome: Outcome) -> None:
        """Where it lies, until the job has its result."""
        if outcome.hedge:
            self._lifeline.hedge_outcomes[(outcome.project, outcome.job_id)] = seq
        else:
            entry.outcome_seq = seq

    def _remove(self, seq: int, outcome: Outcome) -> None:
        """Nobody else will ask for the outcome of a job that has ended, or remove it."""
        self._term.background.start(self._remove_if_ended(seq, outcome))

    async def _remove_if_ended(self, seq: int, outcome: Outcome) -> None:
        """Only its result proves that: a leader that was stopped and wakes may hear of an outcome before its job."""
        try:
            await self._term.bus.last(subjects.RES, subjects.result(outcome.project, outcome.job_id))
        except NotFound:
            return  # if it is left for good, the reconciler finds it
        await self._term.bus.delete(self._out, seq)

    def _set_aside(self, message: Message, stream: str, error: Exception) -> None:
        self._term.telemetry.emit("outcomes.unreadable", WARNING, stream=stream, seq=message.seq)
        self._term.background.start(self._endings.set_aside(message, stream, "unreadable", str(error)))
